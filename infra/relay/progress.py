"""The progress of the relay, on stderr: bars with sizes and remaining time in a terminal, else
plain lines.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich import progress as bars
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

LINE_SECONDS = 5.0
"""The pause between two lines about one transfer, without a terminal."""


class Transfer:
    """One transfer that is shown. `total` grows as more becomes known."""

    def __init__(self, progress: "Progress", title: str, total: int) -> None:
        self.title = title
        self.total = total
        self.done = 0
        self._progress = progress
        self._started = self._shown = time.monotonic()

    def add(self, size: int, total: int | None = None) -> None:
        """Some more bytes are done. `total`: how many there are now in all."""
        self.done += size
        self.total = max(self.total if total is None else total, self.done)
        self._progress.show(self)

    @property
    def seconds(self) -> float:
        """The time since the start."""
        return time.monotonic() - self._started

    @property
    def remaining_seconds(self) -> float | None:
        """An estimate from the mean speed; None at the start."""
        if not self.done or not self.seconds:
            return None
        return (self.total - self.done) * self.seconds / self.done

    def line(self) -> str:
        """The state in one line."""
        left = self.remaining_seconds
        if left is not None and self.done < self.total:
            rest = f", {duration(left)} left"
        else:
            rest = ""
        return f"{self.title}: {size_text(self.done)} of {size_text(self.total)}{rest}"

    def is_due(self) -> bool:
        """Whether the next plain line about it is due."""
        now = time.monotonic()
        is_due = now - self._shown >= LINE_SECONDS
        if is_due:
            self._shown = now
        return is_due


class Progress:
    """Shows transfers and lines on stderr."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, markup=False, highlight=False, emoji=False)
        self._tasks: dict[Transfer, TaskID] = {}
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._bars = (
            bars.Progress(*columns, console=self._console, transient=True)
            if self._console.is_terminal
            else None
        )

    def say(self, line: str) -> None:
        """A line for the user."""
        text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
        if self._bars and self._tasks:
            self._bars.console.print(text, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def transfer(self, title: str, total: int = 0) -> Iterator[Transfer]:
        """Show a transfer while it lasts."""
        transfer = Transfer(self, title, total)
        if self._bars:
            if not self._tasks:
                self._bars.start()
            self._tasks[transfer] = self._bars.add_task(title, total=total or None)
        try:
            yield transfer
        finally:
            if self._bars:
                self._bars.remove_task(self._tasks.pop(transfer))
                if not self._tasks:
                    self._bars.stop()

    def show(self, transfer: Transfer) -> None:
        """Update the display of a transfer."""
        if self._bars:
            self._bars.update(self._tasks[transfer], completed=transfer.done, total=transfer.total)
        elif transfer.is_due():
            self.say(transfer.line())


def size_text(count: float) -> str:
    """A number of bytes: `12.3 MB`."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            if unit == "bytes":
                return f"{count:.0f} bytes"
            return f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def duration(seconds: float) -> str:
    """A number of seconds: `2 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes:
        return f"{minutes} min {rest} s"
    return f"{rest} s"
