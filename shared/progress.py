"""How a long job reports its progress."""

from typing import Protocol


class Tell(Protocol):
    """Called now and then with the number of things of a kind that are done."""

    def __call__(self, what: str, done: int, total: int | None = None, size_bytes: int | None = None) -> None:
        """`total`: how many there are, None while unknown. `size_bytes`: of those that are done."""


def silent(what: str, done: int, total: int | None = None, size_bytes: int | None = None) -> None:
    """Report nothing."""
