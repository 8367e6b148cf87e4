"""A SQLite file in WAL mode: parallel reads, and one writer that commits groups of writes.

Each thread that reads has a connection of its own. Writes are functions that run in one thread. The
thread runs all waiting functions in one transaction, so concurrent writers share one flush of the
log. A write returns after that flush (`synchronous=FULL`). If a flush fails, SQLite rolls the
transaction back, and each of its writes raises Unavailable.

Several processes can have the file open. `BEGIN IMMEDIATE` lets one of them write at a time.
"""

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from shared.errors import Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], T]
"""A write. It reads and checks before it changes anything: if it raises, it has changed nothing."""

BUSY_SECONDS = 20
"""A write waits this long for the write of another process."""
GROUP = 256
"""The most writes in one transaction."""
PAGE_CACHE_KIB = 8 * 1024
"""The page cache of each connection. The operating system caches the file itself."""
LOG_BYTES = 64 * 1024 * 1024
"""The log file is cut to this size after it was copied into the database."""
SWEEP_SECONDS = 600
"""The time between two deletions of expired rows."""
SWEPT = 1000
"""The most expired rows that one write deletes."""
_PROBE = """
CREATE TABLE IF NOT EXISTS probe (id INTEGER PRIMARY KEY, at REAL NOT NULL);
INSERT OR IGNORE INTO probe VALUES (1, 0);
"""


class Trouble:
    """Why writes to a path fail. Logs the first of consecutive failures, and their end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.text = ""
        """One line, empty after a write that succeeded."""

    def begin(self, error: Exception) -> None:
        """Record a failed write."""
        text = (
            f"{self._path} could not be written ({error}): reads work, writes wait for free disk"
            " space"
        )
        if not self.text:
            log.error("pieria: %s", text)
        self.text = text

    def end(self) -> None:
        """Record a write that succeeded."""
        if self.text:
            log.warning("pieria: %s can be written again", self._path)
            self.text = ""


class Database:
    """An open database file. `schema` creates its tables and indexes if they do not exist."""

    def __init__(self, path: Path, schema: str, sweep: Write[int] | None = None) -> None:
        self._path = path
        self._sweep = sweep
        self._trouble = Trouble(path)
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._waiting: SimpleQueue[tuple[Write[Any], Future[Any]] | None] = SimpleQueue()
        path.touch(mode=0o600)
        self._writer = self._connected()
        self._writer.executescript(_PROBE + schema)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="pieria-writer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish the waiting writes and close the file. A second call has no effect."""
        if self._closed:
            return
        self._closed = True
        self._waiting.put(None)
        self._thread.join()
        for connection in self._readers:
            connection.close()
        self._writer.close()

    def reader(self) -> sqlite3.Connection:
        """Return the connection of this thread. Use it for reads only."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = self._connected()
            self._readers.append(found)
        return found

    def read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Run reads in one transaction. SQLite would lock and unlock the file for each of them."""
        rows = self.reader()
        rows.execute("BEGIN")
        try:
            return read(rows)
        finally:
            rows.execute("COMMIT")

    def submit(self, write: Write[T]) -> "Future[T]":
        """Pass a write to the writer thread."""
        future: Future[T] = Future()
        if self._closed:
            future.set_exception(Unavailable())
        else:
            self._waiting.put((write, future))
        return future

    async def write(self, write: Write[T]) -> T:
        """Run a write. Returns when it is on disk. Raises Unavailable if it is not."""
        # A cancelled request does not cancel its write: the transaction may be under way.
        return await asyncio.shield(asyncio.wrap_future(self.submit(write)))

    def probe(self) -> str:
        """Check whether writes work again after a failure. Returns why not, or an empty string."""
        if self._trouble.text:
            probing = "UPDATE probe SET at = ?"
            with contextlib.suppress(Unavailable, TimeoutError):
                self.submit(lambda rows: rows.execute(probing, (time.time(),))).result(5)
        return self._trouble.text

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"cache_size=-{PAGE_CACHE_KIB}",
            f"journal_size_limit={LOG_BYTES}",
            "foreign_keys=OFF",
        ):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _run(self) -> None:
        next_sweep = time.monotonic()
        while True:
            if self._sweep and time.monotonic() >= next_sweep:
                next_sweep = time.monotonic() + SWEEP_SECONDS
                self._sweep_all(self._sweep)
            try:
                first = self._waiting.get(timeout=SWEEP_SECONDS)
            except Empty:
                continue
            group = [first]
            while len(group) < GROUP and group[-1] is not None:
                try:
                    group.append(self._waiting.get_nowait())
                except Empty:
                    break
            self._commit([waiting for waiting in group if waiting])
            if group[-1] is None:
                return

    def _sweep_all(self, sweep: Write[int]) -> None:
        """Delete expired rows. A failure is logged, and the next sweep tries again."""
        swept: Future[int] = Future()
        self._commit([(sweep, swept)])
        if swept.exception() is None and swept.result() == SWEPT:
            self._waiting.put((sweep, Future()))

    def _commit(self, group: list[tuple[Write[Any], Future[Any]]]) -> None:
        """Run these writes in one transaction, and then complete their futures."""
        done: list[tuple[Future[Any], Any, Exception | None]] = []
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for write, future in group:
                try:
                    done.append((future, write(self._writer), None))
                except sqlite3.Error:
                    raise
                except Exception as error:
                    done.append((future, None, error))
            self._writer.execute("COMMIT")
        except Exception as error:
            self._roll_back()
            self._fail(error, [future for _, future in group])
            return
        if group:
            self._trouble.end()
        for future, result, failure in done:
            if failure is None:
                future.set_result(result)
            else:
                future.set_exception(failure)

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")

    def _fail(self, error: Exception, futures: list[Future[Any]]) -> None:
        self._trouble.begin(error)
        for future in futures:
            failure = Unavailable()
            failure.__cause__ = error
            future.set_exception(failure)


class MemoryDatabase:
    """A database in memory, for rows that need not outlive the process. Its writes run at once."""

    def __init__(self, schema: str, sweep: Write[int]) -> None:
        self._sweep = sweep
        self._next_sweep = 0.0
        self._one_at_a_time = threading.Lock()
        """A write reads before it writes, and each event loop has a thread of its own."""
        self._connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False
        )
        self._connection.executescript(schema)

    def read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Run reads."""
        return read(self._connection)

    async def write(self, write: Write[T]) -> T:
        """Run a write."""
        with self._one_at_a_time, translated():
            if time.monotonic() >= self._next_sweep:
                self._next_sweep = time.monotonic() + SWEEP_SECONDS
                while self._sweep(self._connection):
                    continue
            return write(self._connection)


@contextmanager
def translated() -> Iterator[None]:
    """Raise Unavailable for a failure of SQLite or of the file system."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise Unavailable() from error
