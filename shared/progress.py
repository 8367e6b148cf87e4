"""Progress reports of long jobs."""

from typing import Protocol


class OnProgress(Protocol):
    """A callback with the number of finished things of the kind `what`."""

    def __call__(
        self, what: str, done: int, total: int | None = None, size_bytes: int | None = None
    ) -> None:
        """`total`: the number of all, None if unknown. `size_bytes`: that of finished things."""


def no_progress(
    what: str, done: int, total: int | None = None, size_bytes: int | None = None
) -> None:
    """Report nothing."""
