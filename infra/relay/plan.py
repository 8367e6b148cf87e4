"""The parts that a clone fetches: first the records of all its commits and the sizes of its
objects, then the contents.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from infra.relay.bundles import Records
from infra.relay.steps import Part
from shared import codec

SLICE_BYTES = 32 * 1024 * 1024
"""The contents that are given to the client at once: it holds them in memory."""
SLICE_OBJECTS = 5_000


@dataclass(frozen=True)
class Stretch:
    """The commits of one part.

    Where their records are in the plan: first byte, bytes, number of records.
    """

    commits: tuple[int, int, int]
    snapshots: tuple[int, int, int]
    commit_ids: list[str]
    snapshot_ids: list[str]
    objects: dict[str, int]


@dataclass
class Plan:
    """The parts of a clone, oldest first."""

    commits: Records = field(default_factory=Records)
    snapshots: Records = field(default_factory=Records)
    stretches: list[Stretch] = field(default_factory=list)

    def add(self, part: Part) -> None:
        """Append a part of the history."""
        self.stretches.append(
            Stretch(
                commits=(self.commits.content.size, part.commits.content.size, part.commits.count),
                snapshots=(
                    self.snapshots.content.size,
                    part.snapshots.content.size,
                    part.snapshots.count,
                ),
                commit_ids=list(part.parents),
                snapshot_ids=part.snapshot_ids,
                objects=part.objects,
            )
        )
        self.commits.append(part.commits)
        self.snapshots.append(part.snapshots)

    def records(self, stretch: Stretch) -> Iterator[bytes]:
        """The bundle of the records of a stretch."""
        yield codec.map_start(2, {})
        for name, records, (start, size, count) in (
            ("snapshots", self.snapshots, stretch.snapshots),
            ("commits", self.commits, stretch.commits),
        ):
            yield codec.list_start(name, count)
            yield records.content.read(start, size)

    def close(self) -> None:
        """Free the memory or the files."""
        self.commits.content.close()
        self.snapshots.content.close()


def slices(sizes: dict[str, int]) -> Iterator[dict[str, int]]:
    """The objects in groups whose contents have at most SLICE_BYTES; a larger one is a group of its
    own.
    """
    group: dict[str, int] = {}
    total = 0
    for object_id, size in sizes.items():
        if group and (total + size > SLICE_BYTES or len(group) == SLICE_OBJECTS):
            yield group
            group = {}
            total = 0
        group[object_id] = size
        total += size
    if group:
        yield group
