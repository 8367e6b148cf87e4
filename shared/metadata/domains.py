"""Published domains: one row for each, with its compressed record.

All rows are in one partition, ordered by author and name. A new version replaces the row.
"""

import zlib
from dataclasses import dataclass

from shared.metadata import attributes, keys
from shared.metadata.conditions import Equals
from shared.metadata.table import Query, Row, Table

_KIND = attributes.RowFormat("domain")


@dataclass(frozen=True, slots=True)
class Domain:
    """The present version of a domain. `record` is packed."""

    author: str
    slug: str
    version: str
    record: bytes


@dataclass(frozen=True, slots=True)
class Domains:
    """The rows of published domains."""

    table: Table

    async def get(self, author: str, slug: str) -> Domain | None:
        """Return a domain, or None."""
        rows = await self.table.find([keys.domain(author, slug)])
        return domain_of(rows[0]) if rows else None

    async def put_new(self, domain: Domain) -> None:
        """Publish the first version. Raises ConditionFailed with the row of the present one."""
        await self.table.put_new(keys.domain(domain.author, domain.slug), _row(domain))

    async def replace(self, domain: Domain, present: Domain) -> None:
        """Publish the version after `present`. Raises ConditionFailed if it is not present."""
        key = keys.domain(domain.author, domain.slug)
        await self.table.update(key, _row(domain), Equals("version", present.version))

    async def delete(self, author: str, slug: str) -> None:
        """Delete a domain, in whatever version."""
        await self.table.delete(keys.domain(author, slug))

    async def page(self, limit: int, after: str | None) -> tuple[list[Domain], str | None]:
        """Return up to `limit` domains or 1 MB, after the place `after`, and the last place.

        The place is None at the end. The read may be stale.
        """
        page = await self.table.query(
            Query(keys.DOMAINS, limit=limit, after=after, maybe_stale=True)
        )
        return list(map(domain_of, page.rows)), page.last


def place(domain: Domain) -> str:
    """The place of a domain in the list."""
    return keys.domain(domain.author, domain.slug)[1]


def _row(domain: Domain) -> Row:
    return _KIND.stamp_in_place({"version": domain.version, "record": zlib.compress(domain.record)})


def domain_of(row: Row) -> Domain:
    """Decode the row of a domain. Raises Damaged."""
    name = str(row["sk"])
    author, _, slug = name.partition("/")
    version = attributes.text(row, "version", _KIND)
    return Domain(author, slug, version, attributes.record(row, _KIND))
