"""The contents of several small objects."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from shared import names, packs
from shared.model import Location, Loose, ObjectId, Packed
from shared.stores import RepoStores
from shared.tasks import gather_all


@dataclass(frozen=True, slots=True)
class Limits:
    """The most bytes of one content, the most bytes of all, and the most reads of S3."""

    each_bytes: int
    total_bytes: int
    reads: int


async def small(
    repository: RepoStores, object_ids: Iterable[ObjectId], limits: Limits
) -> tuple[dict[ObjectId, bytes], set[ObjectId]]:
    """Read the contents of those of these objects that are stored and small enough.

    The first ones that fit into the limits are read, after one look-up. Also returns the ids of
    those that are left out because the reads of S3 are used up.
    """
    wanted = [object_id for object_id in dict.fromkeys(object_ids) if names.is_id(object_id)]
    known = await repository.index.readable(objects=wanted)
    bytes_left = limits.total_bytes
    chosen: dict[ObjectId, Location] = {}
    left_out: set[ObjectId] = set()
    for object_id in wanted:
        at = known.objects.get(object_id)
        if at is None or at.length > min(limits.each_bytes, bytes_left):
            continue
        if left_out or _reads([*chosen.values(), at]) > limits.reads:
            left_out.add(object_id)
            continue
        chosen[object_id] = at
        bytes_left -= at.length
    packed = {at for at in chosen.values() if isinstance(at, Packed)}
    loose = [object_id for object_id, at in chosen.items() if isinstance(at, Loose)]
    entries = await repository.objects.read_packed(packed)
    parts = await gather_all(
        repository.objects.read_part(object_id, chosen[object_id], 0, chosen[object_id].length)
        for object_id in loose
    )
    read = {object_id: entries[at] for object_id, at in chosen.items() if isinstance(at, Packed)}
    return read | dict(zip(loose, parts, strict=True)), left_out


def _reads(locations: Collection[Location]) -> int:
    """The number of reads of S3 that return these contents."""
    packed = [at for at in locations if isinstance(at, Packed)]
    return len(packs.plan(packed)) + len(locations) - len(packed)
