"""Objects as files in a folder, listed in the database file.

objects/<2 digits>/<version>   a version of an object
incoming/<version>             the same while it is written

A write is: the file in `incoming`, flushed to disk; the row in the database; the move to `objects`.
After a crash, a file in `incoming` with a row is moved, and one without a row is deleted. A removal
is: the row moves to the list of condemned files; the file is deleted; the entry is deleted. A copy
is a hard link, so it takes no space.
"""

import asyncio
import contextlib
import os
import secrets
import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

from shared.engines.database import Database, Trouble, translated
from shared.engines.signed_urls import SignedUrls
from shared.model import Version
from shared.objects.bucket import CHUNK_BYTES, Bucket, Changed, NoSuchKey, Stored, Stream

SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    key TEXT NOT NULL, version TEXT NOT NULL, size INTEGER NOT NULL, modified REAL NOT NULL,
    PRIMARY KEY (key, version)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS condemned (version TEXT PRIMARY KEY) WITHOUT ROWID;
"""

OBJECTS = "objects"
INCOMING = "incoming"
PAGE = 1000
EXPIRED = 100
"""The most versions that one write of `expire` deletes. Other writes wait for it."""
_ADD = "INSERT INTO objects VALUES (?, ?, ?, ?)"
_CURRENT = "SELECT version, size FROM objects WHERE key = ? ORDER BY version DESC LIMIT 1"
_LISTED = """
SELECT key, max(version), size, modified FROM objects WHERE key >= ? AND key < ? AND key > ?
GROUP BY key ORDER BY key LIMIT ?
"""
_VERSIONS = """
SELECT key, version, size, modified FROM objects
WHERE (key, version) > (?, ?) AND key >= ? AND key < ? ORDER BY key, version LIMIT ?
"""
_LAST = "\U0010ffff"
"""Sorts behind all characters that occur in keys."""


_Rows: TypeAlias = list[tuple[str, str, int, float]]


class FileBucket(Bucket):
    """The objects of one folder."""

    def __init__(self, folder: Path, database: Database, urls: SignedUrls) -> None:
        self._objects = folder / OBJECTS
        self._incoming = folder / INCOMING
        self._database = database
        self._trouble = Trouble(self._objects)
        self._lacking_bytes = 0
        """The size of the largest file that could not be written."""
        self.urls = urls

    @property
    def is_aws(self) -> bool:
        """Return False: the hub sends objects itself."""
        return False

    @property
    def origin(self) -> str:
        """Return an empty text, as for every store that is not S3 itself."""
        return ""

    def recover(self) -> None:
        """Finish the writes and removals that a crash interrupted.

        Call it only while no other process uses the folder.
        """
        rows = self._database.reader()
        for found in self._incoming.iterdir():
            has_row = rows.execute("SELECT 1 FROM objects WHERE version = ?", (found.name,))
            if has_row.fetchone():
                self._move(found.name)
            else:
                found.unlink()
        condemned = rows.execute("SELECT version FROM condemned").fetchall()
        self._delete([version for (version,) in condemned])

    async def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        version = new_version()
        path = self._incoming / version

        def write() -> None:
            with self._removed_on_failure(path), _created(path) as file:
                self._write(file, data, len(data))
                self._flush(file)

        with translated():
            await asyncio.to_thread(write)
            await self._publish(key, version, len(data))

    async def put_stream(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Write an object of any size. Nothing is stored if `chunks` raises."""
        version = new_version()
        path = self._incoming / version
        with translated():
            with self._removed_on_failure(path), await asyncio.to_thread(_created, path) as file:
                size = 0
                async for chunk in chunks:
                    size += len(chunk)
                    await asyncio.to_thread(self._write, file, chunk, size)
                await asyncio.to_thread(self._flush, file)
            await self._publish(key, version, size)

    async def get(
        self, key: str, start: int | None = None, stop: int | None = None, version: str = ""
    ) -> bytes:
        """Read an object, or its bytes from `start` up to `stop`, exclusive. Raises NoSuchKey."""
        found, size = self._found(key, version)
        first, end = (0, size) if start is None or stop is None else (start, min(stop, size))
        if start is not None and first >= size:
            raise NoSuchKey()

        def read() -> bytes:
            with self._opened(found) as file:
                return os.pread(file.fileno(), end - first, first)

        with translated():
            return read() if end - first <= CHUNK_BYTES else await asyncio.to_thread(read)

    async def stream(self, key: str) -> Stream:
        """Read an object in chunks of `CHUNK_BYTES`. Raises NoSuchKey."""
        version, size = self._found(key, "")
        with translated():
            file = self._opened(version)

        async def chunks() -> AsyncGenerator[bytes, None]:
            with translated(), file:
                while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    yield chunk

        return Stream(Version(_etag(version), version), size, chunks())

    async def list(self, prefix: str) -> AsyncIterator[Stored]:
        """Yield the objects under a prefix by key."""
        after = ""
        has_more = True
        while has_more:
            page, has_more = await self.page(prefix, after)
            for found in page:
                yield Stored(found.key, "", found.size, found.modified)
            after = page[-1].key if page else ""

    async def page(self, prefix: str, after: str) -> tuple[Sequence[Stored], bool]:
        """Return up to 1,000 objects under a prefix after the key `after`, and if more follow."""
        found = await self._rows(_LISTED, (prefix, prefix + _LAST, after, PAGE + 1))
        listed = [
            Stored(key, "", size, modified, _etag(version))
            for key, version, size, modified in found[:PAGE]
        ]
        return listed, len(found) > PAGE

    async def versions(self, prefix: str) -> AsyncIterator[Stored]:
        """Yield every version under a prefix by key. There are no delete markers."""
        last = ("", "")
        while True:
            found = await self._rows(_VERSIONS, (*last, prefix, prefix + _LAST, PAGE))
            for row in found:
                yield Stored(*row)
            if len(found) < PAGE:
                return
            last = found[-1][:2]

    async def remove(self, versions: Sequence[Stored]) -> None:
        """Delete versions permanently. Later versions of the keys stay."""
        named = [(found.key, found.version) for found in versions]

        def condemn(rows: sqlite3.Connection) -> list[str]:
            condemned = []
            for key, version in named:
                deleting = "DELETE FROM objects WHERE key = ? AND version = ?"
                if rows.execute(deleting, (key, version)).rowcount:
                    rows.execute("INSERT OR IGNORE INTO condemned VALUES (?)", (version,))
                    condemned.append(version)
            return condemned

        if not named:
            return
        condemned = await self._database.write(condemn)
        with translated():
            await asyncio.to_thread(self._delete, condemned)

    async def copy(self, source: str, key: str, version: Version) -> None:
        """Copy exactly this version of `source`. Raises NoSuchKey or Changed."""
        found, size = self._found(source, version.version_id)
        if _etag(found) != version.etag:
            raise Changed()
        fresh = new_version()

        def link() -> None:
            try:
                os.link(self._path(found), self._incoming / fresh)
            except FileNotFoundError:
                raise NoSuchKey() from None

        with translated():
            await asyncio.to_thread(link)
            await self._publish(key, fresh, size)

    async def presigned_put(self, key: str, ttl_seconds: int, size: int | None = None) -> str:
        """Make a URL that allows its holder to write this key for this time."""
        return self.urls.put(key, ttl_seconds, size)

    async def presigned_get(
        self, key: str, ttl_seconds: int, media_type: str, disposition: str
    ) -> str:
        """Make a URL that allows its holder to read this key for this time."""
        return self.urls.get(key, ttl_seconds, media_type, disposition)

    def path_of(self, key: str) -> Path:
        """Return the file of the current version. Raises NoSuchKey."""
        return self._path(self._found(key, "")[0])

    async def expire(self, prefix: str, before: float) -> int:
        """Delete the versions under a prefix that are older than this epoch second."""
        count = 0
        old: list[Stored] = []
        async for found in self.versions(prefix):
            if found.modified < before:
                old.append(found)
            if len(old) == EXPIRED:
                await self.remove(old)
                count += len(old)
                old = []
        await self.remove(old)
        return count + len(old)

    def probe(self) -> str:
        """Check whether a file that could not be written can be written now.

        Returns why not, or an empty text.
        """
        if self._trouble.text:
            path = self._incoming / new_version()
            with contextlib.suppress(OSError), self._removed_on_failure(path):
                with _created(path) as file:
                    self._write(file, bytes(self._lacking_bytes), self._lacking_bytes)
                    self._flush(file)
                path.unlink()
        return self._trouble.text

    def _write(self, file: BinaryIO, data: bytes, size: int) -> None:
        """Append to a file that then has this size."""
        with self._noted(size):
            file.write(data)

    def _flush(self, file: BinaryIO) -> None:
        """Make a file durable."""
        with self._noted(file.tell()):
            _flush(file)
        # A smaller file can find space before a larger one does.
        if file.tell() >= self._lacking_bytes:
            self._lacking_bytes = 0
            self._trouble.end()

    @contextmanager
    def _noted(self, size: int) -> Iterator[None]:
        """Record a failure to write a file of this size."""
        try:
            yield
        except OSError as error:
            self._lacking_bytes = max(size, self._lacking_bytes)
            self._trouble.begin(error)
            raise

    @contextmanager
    def _removed_on_failure(self, path: Path) -> Iterator[None]:
        try:
            yield
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    async def _publish(self, key: str, version: str, size: int) -> None:
        """Make a file of `incoming` a version of an object."""
        await asyncio.to_thread(sync_folder, self._incoming)
        row = (key, version, size, time.time())

        def publish(rows: sqlite3.Connection) -> None:
            rows.execute(_ADD, row)

        try:
            await self._database.write(publish)
        except Exception:
            (self._incoming / version).unlink(missing_ok=True)
            raise
        self._move(version)

    def _move(self, version: str) -> None:
        (self._incoming / version).rename(_place(self._objects, version))

    def _path(self, version: str) -> Path:
        """The file of a version. Between the row and the move, it is still in `incoming`."""
        path = _place(self._objects, version)
        incoming = self._incoming / version
        return incoming if not path.exists() and incoming.exists() else path

    def _opened(self, version: str) -> BinaryIO:
        for _ in range(2):  # the file may be moved between the two steps
            try:
                return self._path(version).open("rb", buffering=0)
            except FileNotFoundError:
                continue
        raise NoSuchKey()

    def _found(self, key: str, version: str | None) -> tuple[str, int]:
        """Return a version of an object and its size. Raises NoSuchKey."""
        with translated():
            rows = self._database.reader()
            if version:
                found = rows.execute(
                    "SELECT version, size FROM objects WHERE key = ? AND version = ?",
                    (key, version),
                ).fetchone()
            else:
                found = rows.execute(_CURRENT, (key,)).fetchone()
        if found is None:
            raise NoSuchKey()
        return found[0], found[1]

    async def _rows(self, statement: str, values: tuple[object, ...]) -> _Rows:
        def read() -> _Rows:
            with translated():
                return self._database.reader().execute(statement, values).fetchall()

        return await asyncio.to_thread(read)

    def _delete(self, versions: Sequence[str]) -> None:
        for version in versions:
            self._path(version).unlink(missing_ok=True)
        forgetting = "DELETE FROM condemned WHERE version = ?"
        gone = [(version,) for version in versions]
        if gone:
            self._database.submit(lambda rows: rows.executemany(forgetting, gone)).result()


def make_folders(folder: Path) -> None:
    """Create the folders of the objects durably."""
    for name in (INCOMING, OBJECTS, *(f"{OBJECTS}/{first:02x}" for first in range(256))):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder / OBJECTS)
    sync_folder(folder)


def add_version(
    folder: Path, rows: sqlite3.Connection, key: str, data: bytes, modified: float
) -> str:
    """Add a version of an object to a store that no hub uses. Returns the id of the version.

    The file is on disk after this call. The caller makes its row and its folder durable.
    """
    version = new_version()
    with _created(_place(folder / OBJECTS, version)) as file:
        file.write(data)
        _flush(file)
    rows.execute(_ADD, (key, version, len(data), modified))
    return version


def remove_versions(
    folder: Path, rows: sqlite3.Connection, key: str, version: str | None = None
) -> None:
    """Delete a version of an object, or all versions, from a store that no hub uses."""
    found = rows.execute("SELECT version FROM objects WHERE key = ?", (key,)).fetchall()
    for (one,) in found:
        if version in (None, one):
            rows.execute("DELETE FROM objects WHERE key = ? AND version = ?", (key, one))
            _place(folder / OBJECTS, one).unlink()


def _place(objects: Path, version: str) -> Path:
    """Return the path of a version. Its last digits are random, so all folders fill equally."""
    return objects / version[-2:] / version


def new_version() -> str:
    """Make the id of a version. Later ids sort behind earlier ones."""
    return f"{time.time_ns():020x}{secrets.token_hex(10)}"


def sync_folder(folder: Path) -> None:
    """Make new and renamed files of a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _created(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return os.fdopen(descriptor, "wb")


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _etag(version: str) -> str:
    return f'"{version}"'
