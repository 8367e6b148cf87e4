"""Groups of items whose contents fit in memory, and reads of packs in such groups."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import TypeVar

from shared.errors import Damaged
from shared.metadata.table import chunked
from shared.model import Packed
from shared.stores import RepoStores

T = TypeVar("T")

GROUP = 500
"""Items that are read together."""
GROUP_BYTES = 32 * 1024 * 1024
"""Bytes of packs in memory at once."""


def by_size(items: Iterable[T], max_bytes: int, size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Split items into groups of at most `max_bytes` together, in their order.

    `size_of` returns the bytes of an item. A larger item is a group of its own.
    """
    group: list[T] = []
    size = 0
    for item in items:
        if group and size + size_of(item) > max_bytes:
            yield group
            group = []
            size = 0
        group.append(item)
        size += size_of(item)
    if group:
        yield group


async def read_each(
    repository: RepoStores, wanted: Iterable[Packed]
) -> AsyncIterator[tuple[Packed, bytes | None]]:
    """The bytes at each location, or None if they cannot be read. Pack by pack, at most
    `GROUP_BYTES` at a time.

    AWS calls: a GET for each range of each pack, and a GET for each location of a range that cannot
    be read.
    """
    ordered = sorted(wanted, key=lambda at: (at.pack, at.offset))
    for run in by_size(ordered, GROUP_BYTES, attrgetter("length")):
        for group in chunked(run, GROUP):  # a GET for each entry, if each is in another pack
            async for found in _read_group(repository, group):
                yield found


async def _read_group(
    repository: RepoStores, group: Sequence[Packed]
) -> AsyncIterator[tuple[Packed, bytes | None]]:
    """Read a group at once. If that fails, read each entry by itself, to find the damaged one."""
    try:
        found = await repository.objects.read_packed(group)
    except Damaged:
        found = {}
    for at in group:
        if at in found:
            yield at, found[at]
            continue
        try:
            yield at, (await repository.objects.read_packed([at]))[at]
        except Damaged:
            yield at, None
