"""Which bundle a repository has: one row beside its refs, so that a fetch finds it at no call of its own."""

from contextlib import suppress
from dataclasses import dataclass

from shared.errors import Damaged
from shared.metadata import attributes, keys
from shared.metadata.census import Progress, as_far_as
from shared.metadata.table import Lost, Row, Table, Update
from shared.model import Bundle, Run

DIGEST = 32
_SAME = "#name = :name"


@dataclass(frozen=True, slots=True)
class Bundles:
    """The bundle of every repository that has one."""

    table: Table

    async def get(self, repo_id: str) -> Bundle | None:
        """The bundle that a clone would be answered with, or None."""
        row = await self.table.get(keys.bundle(repo_id))
        return usable(row) if row else None

    async def put(self, repo_id: str, bundle: Bundle, since: Progress | None) -> bool:
        """Name a bundle, in the place of any other. Its bytes must be durable by now.

        False, and nothing is written, if gc has come further than `since`, however late this arrives: it is one
        transaction.
        """
        runs = {"commits": bundle.commits, "snapshots": bundle.snapshots, "objects": bundle.objects}
        row: Row = {
            "name": bundle.name,
            "heads": list(map(keys.place_text, bundle.heads)),
            "merged": list(map(keys.place_text, bundle.merged)),
            **{what: run.count for what, run in runs.items()},
            **{f"{what}_size": run.size for what, run in runs.items()},
            "range_size": bundle.range_size,
            "digests": b"".join(bundle.digests),
            "ids_size": bundle.ids_size,
            "ids_digest": bundle.ids_digest,
            "made_at": bundle.made_at,
            "named_in": since.stamp if since else "",
        }
        try:
            await self.table.update_together([as_far_as(repo_id, since), Update(keys.bundle(repo_id), row)])
        except Lost:
            return False
        return True

    async def remove(self, repo_id: str, bundle: Bundle) -> None:
        """Name it no more, unless another has taken its place."""
        with suppress(Lost):
            await self.table.remove(keys.bundle(repo_id), _SAME, {"name": bundle.name})


def usable(row: Row) -> Bundle | None:
    """The bundle that a row describes. None for a damaged row: a bundle is a copy, and the next one replaces it."""
    try:
        return parse(row)
    except Damaged:
        return None


def parse(row: Row) -> Bundle:
    """The bundle that a row describes. Raises Damaged."""
    what = f"bundle {row['name']!s}"
    digests = attributes.binary(row, "digests", what)
    return Bundle(
        name=str(row["name"]),
        heads=tuple(map(keys.parse_place, attributes.texts(row, "heads", what))),
        merged=tuple(map(keys.parse_place, attributes.texts(row, "merged", what))),
        commits=_run(row, "commits"),
        snapshots=_run(row, "snapshots"),
        objects=_run(row, "objects"),
        range_size=_number(row, "range_size"),
        digests=tuple(digests[start : start + DIGEST] for start in range(0, len(digests), DIGEST)),
        ids_size=_number(row, "ids_size"),
        ids_digest=attributes.binary(row, "ids_digest", what),
        made_at=_number(row, "made_at"),
        named_in=str(row.get("named_in", "")),
    )


def _run(row: Row, what: str) -> Run:
    return Run(_number(row, what), _number(row, f"{what}_size"))


def _number(row: Row, name: str) -> int:
    return int(str(row[name]))
