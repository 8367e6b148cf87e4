"""Prebuilt clones: one row next to the refs, so that a fetch reads it without an additional
call.
"""

from contextlib import suppress
from dataclasses import dataclass

from shared.errors import Damaged, HubOutdated
from shared.metadata import attributes, keys
from shared.metadata.conditions import Equals
from shared.metadata.scans import JobState, as_far_as
from shared.metadata.table import ConditionFailed, Row, Table, Update
from shared.model import PrebuiltClone, RepoId, Run

DIGEST = 32
_KIND = attributes.RowFormat("prebuilt clone")


@dataclass(frozen=True, slots=True)
class PrebuiltClones:
    """The row of the prebuilt clone of a repository."""

    table: Table
    repo_id: RepoId

    async def get(self) -> PrebuiltClone | None:
        """Return the bundle that a clone is answered with, or None."""
        row = await self.table.get(keys.prebuilt(self.repo_id))
        return usable(row) if row else None

    async def put(self, prebuilt: PrebuiltClone, since: JobState | None) -> None:
        """Set the bundle of a repository, replacing another one. Its bytes must already be durable.

        Raises ConditionFailed and writes nothing if gc has advanced beyond `since`. One transaction
        checks this, so the row is safe even if the call arrives late.
        """
        runs = {
            "commits": prebuilt.commits,
            "snapshots": prebuilt.snapshots,
            "objects": prebuilt.objects,
        }
        row: Row = {
            "name": prebuilt.name,
            "heads": list(map(keys.address_text, prebuilt.heads)),
            "merged": list(map(keys.address_text, prebuilt.merged)),
            **{what: run.count for what, run in runs.items()},
            **{f"{what}_size": run.size for what, run in runs.items()},
            **{f"{what}_stored": run.stored_size for what, run in runs.items()},
            "range_size": prebuilt.range_size,
            **_digests(prebuilt),
            "ids_size": prebuilt.ids_size,
            "ids_digest": prebuilt.ids_digest,
            "made_at": prebuilt.made_at,
            "named_in": since.run_id if since else "",
        }
        await self.table.update_together(
            [
                as_far_as(self.repo_id, since),
                Update(keys.prebuilt(self.repo_id), _KIND.stamp_in_place(row)),
            ]
        )

    async def remove(self, prebuilt: PrebuiltClone) -> None:
        """Delete the row of this bundle, unless another bundle has replaced it."""
        with suppress(ConditionFailed):
            await self.table.delete(keys.prebuilt(self.repo_id), Equals("name", prebuilt.name))


def usable(row: Row) -> PrebuiltClone | None:
    """Return the prebuilt clone of a row.

    None for a row that is damaged or of a newer format: a prebuilt clone is a copy, and the next
    one replaces its row.
    """
    try:
        return parse(row)
    except (Damaged, HubOutdated):
        return None


def parse(row: Row) -> PrebuiltClone:
    """Return the prebuilt clone of a row. Raises Damaged."""
    is_compressed = bool(row.get("stored_digests"))
    digests = attributes.binary(row, "stored_digests" if is_compressed else "digests", _KIND)
    return PrebuiltClone(
        name=attributes.text(row, "name", _KIND),
        heads=attributes.addresses(row, "heads", _KIND),
        merged=attributes.addresses(row, "merged", _KIND),
        commits=_run(row, "commits", is_compressed=is_compressed),
        snapshots=_run(row, "snapshots", is_compressed=is_compressed),
        objects=_run(row, "objects", is_compressed=is_compressed),
        range_size=attributes.number(row, "range_size", _KIND),
        digests=tuple(digests[start : start + DIGEST] for start in range(0, len(digests), DIGEST)),
        ids_size=attributes.number(row, "ids_size", _KIND),
        ids_digest=attributes.binary(row, "ids_digest", _KIND),
        made_at=attributes.number(row, "made_at", _KIND),
        named_in=attributes.text(row, "named_in", _KIND) or None if "named_in" in row else None,
    )


def _digests(prebuilt: PrebuiltClone) -> Row:
    """The digests, in the attribute of the format.

    An older hub finds none for a compressed bundle, and ignores it.
    """
    digests = b"".join(prebuilt.digests)
    return (
        {"stored_digests": digests}
        if prebuilt.is_compressed
        else {"digests": digests, "stored_digests": b""}
    )


def _run(row: Row, name: str, *, is_compressed: bool) -> Run:
    return Run(
        attributes.number(row, name, _KIND),
        attributes.number(row, f"{name}_size", _KIND),
        attributes.number(row, f"{name}_stored", _KIND) if is_compressed else 0,
    )
