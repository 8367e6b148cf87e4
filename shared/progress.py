"""Progress reports of long jobs."""

from typing import Protocol


class Tell(Protocol):
    """A callback with the number of finished things of the kind `what`."""

    def __call__(self, what: str, done: int, total: int | None = None, size_bytes: int | None = None) -> None:
        """`total`: the number of all, None if unknown. `size_bytes`: that of finished things."""


def silent(what: str, done: int, total: int | None = None, size_bytes: int | None = None) -> None:
    """Report nothing."""
