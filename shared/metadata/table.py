"""The contract of a table of rows. `shared.engines` implements it for DynamoDB and for SQLite.

Reads are strongly consistent, so that the next request sees an acknowledged push. `maybe_stale`
reads may be eventually consistent, at half the cost. A write is durable when its call returns. Each
verb raises Unavailable if the engine fails.
"""

from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from shared.errors import Unavailable
from shared.metadata.conditions import Condition
from shared.metadata.conditions import Row as Row  # the other modules of `metadata` import it here
from shared.metadata.conditions import Value as Value
from shared.metadata.keys import Key

GET_BATCH = 100
PUT_BATCH = 25
TRANSACTION = 100
"""The most writes that DynamoDB accepts in one transaction."""

T = TypeVar("T")


class ConditionFailed(Exception):
    """A condition did not hold. `row` is the present row, returned by the failed write itself.

    `index` is the index of the failed write within its transaction.
    """

    def __init__(self, row: Row | None, index: int = 0) -> None:
        self.row = row
        self.index = index
        super().__init__("the condition did not hold")

    def current(self) -> Row:
        """Return the present row, for a condition that every absent row fulfils.

        Raises Unavailable if the engine did not return it.
        """
        if self.row is None:
            raise Unavailable() from self
        return self.row


@dataclass(frozen=True, slots=True)
class Query:
    """The rows of a partition to read, in the order of their sort keys.

    They begin with `prefix`, or are `between` two sort keys, both included, and come after the sort
    key `after`.
    """

    pk: str
    prefix: str = ""
    between: tuple[str, str] | None = None
    limit: int | None = None
    newest_first: bool = False
    after: str | None = None
    maybe_stale: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a partition, in order.

    `last` is the sort key to continue after; None at the end.
    """

    rows: list[Row]
    last: str | None


@dataclass(frozen=True, slots=True)
class Update:
    """Attributes to set in one row if a condition holds. Without attributes, only the condition."""

    key: Key
    row: Row
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class Beside:
    """Rows of another table, read in the same call with eventual consistency at half the cost.

    The call fills `rows`. Rows that DynamoDB leaves unprocessed are missing.
    """

    table: "Table"
    keys: Sequence[Key]
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Removal:
    """A row to delete, without a condition."""

    key: Key


class Table(Protocol):
    """A table with the string keys `pk` and `sk` (`CounterTable`: only `pk`)."""

    @abstractmethod
    async def get(self, key: Key) -> Row | None:
        """Return the row, or None."""

    @abstractmethod
    async def find(self, keys: Collection[Key], *, maybe_stale: bool = False) -> list[Row]:
        """Return the rows that exist, in no order. One call for every 100 keys, all in parallel."""

    @abstractmethod
    async def find_few(self, keys: Collection[Key], beside: Beside | None) -> list[Row]:
        """Return the rows that exist, in one call with those `beside`: at most 100 keys in all."""

    @abstractmethod
    async def query(self, query: Query) -> Page:
        """Return a page of a partition: at most 1 MB or `query.limit` rows."""

    @abstractmethod
    def scan(self, prefix: str) -> AsyncIterator[Row]:
        """Yield all rows with this partition key prefix. Reads, and pays for, the whole table."""

    @abstractmethod
    async def put(self, rows: Sequence[tuple[Key, Row]]) -> None:
        """Write rows, in parallel calls of 25. The keys must be distinct."""

    @abstractmethod
    async def delete_many(self, keys: Sequence[Key]) -> None:
        """Delete rows, in parallel calls of 25. The keys must be distinct."""

    @abstractmethod
    async def put_new(self, key: Key, row: Row, stale: Condition | None = None) -> None:
        """Write the row if it does not exist. Raises ConditionFailed.

        An existing row for which the condition `stale` holds is replaced.
        """

    @abstractmethod
    async def put_all_new(
        self, rows: Sequence[tuple[Key, Row]], stale: Condition | None = None
    ) -> None:
        """Write those of these rows that do not exist, in order, in transactions of 100.

        `stale` as in `put_new`. Costs and retries as in `update_together`.
        """

    @abstractmethod
    async def update(self, key: Key, row: Row, condition: Condition | None = None) -> None:
        """Set these attributes if the condition holds. Raises ConditionFailed."""

    @abstractmethod
    async def update_together(self, updates: Sequence[Update | Removal]) -> None:
        """Make all of these writes in one transaction. Raises ConditionFailed.

        It costs twice as much as single writes. It is retried if another one writes the same rows.
        """

    @abstractmethod
    async def remove_attribute(self, key: Key, attribute: str, condition: Condition) -> None:
        """Remove one attribute of a row if it exists and the condition holds.

        Raises ConditionFailed.
        """

    @abstractmethod
    async def delete(self, key: Key, condition: Condition | None = None) -> None:
        """Delete a row if the condition holds. Raises ConditionFailed."""

    @abstractmethod
    async def add(self, key: Key, amounts: Mapping[str, int], expires_at: int) -> Row:
        """Add amounts to attributes of a row that expires at this epoch second. Returns the row."""

    async def each(self, pk: str, prefix: str = "") -> AsyncIterator[Row]:
        """Yield the rows of a partition with this sort key prefix. Holds one page in memory."""
        after: str | None = None
        while True:
            page = await self.query(Query(pk, prefix=prefix, after=after))
            for row in page.rows:
                yield row
            after = page.last
            if after is None:
                return

    async def scan_filtered(
        self, query: Query, limit: int, wanted: Callable[[Row], bool]
    ) -> list[Row]:
        """Return the first `limit` rows for which `wanted` is true.

        Reads pages of `query.limit` rows, by default 100.
        """
        found: list[Row] = []
        after = query.after
        while True:
            page = await self.query(replace(query, limit=query.limit or GET_BATCH, after=after))
            found += filter(wanted, page.rows)
            after = page.last
            if after is None or len(found) >= limit:
                return found[:limit]

    async def query_all(self, pk: str, prefix: str) -> list[Row]:
        """Return every row of a partition with this sort key prefix. Reads page by page."""
        return [row async for row in self.each(pk, prefix)]


def chunked(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    """Split items into chunks of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))
