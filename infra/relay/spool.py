"""Bytes that are written once and read as often as a request is repeated."""

import io
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator

from shared import codings
from shared.codings import Coding

MEMORY_BYTES = 512 * 1024
"""A spool above this size is a temporary file without a name: a crash leaves nothing behind."""
PIECE_BYTES = 256 * 1024


class Spool:
    """Bytes in memory, or in an unlinked temporary file. `size` is their number."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115 (closed by `close`)
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes. Raises OSError if the temporary folder is full."""
        self._file.seek(0, io.SEEK_END)
        self._file.write(data)
        self.size += len(data)

    def read(self, start: int, length: int) -> bytes:
        """The bytes at a position, fewer at the end."""
        self._file.seek(start)
        return self._file.read(length)

    def pieces(self) -> Iterator[bytes]:
        """All bytes, in pieces of at most PIECE_BYTES."""
        for start in range(0, self.size, PIECE_BYTES):
            yield self.read(start, PIECE_BYTES)

    def whole(self) -> bytes:
        """All bytes at once, for small ones."""
        return self.read(0, self.size)

    def close(self) -> None:
        """Free the memory or the file."""
        self._file.close()


class Body:
    """The body of a request: the bytes to send, their coding, and their size before it.

    `prefix` is sent first. It has the coding of the rest: a coded stream may consist of several
    frames.
    """

    def __init__(self, coding: Coding | None) -> None:
        self.coding = coding
        self.raw_size = 0
        self.on_sent: Callable[[int], None] | None = None
        """Called with the number of bytes that are sent for the first time."""
        self._reported = 0
        self._prefix = b""
        self._spool = Spool()
        self._compressor = codings.compressor(coding) if coding else None

    @property
    def content(self) -> Spool:
        """The bytes to send, for a body without a prefix."""
        return self._spool

    @property
    def size(self) -> int:
        """The number of bytes that are sent."""
        return len(self._prefix) + self._spool.size

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self.raw_size += len(data)
        self._spool.write(self._compressor.compress(data) if self._compressor else data)

    def end(self, prefix: bytes = b"") -> None:
        """No more bytes follow. `prefix` is put before all others."""
        if self._compressor:
            self._spool.write(self._compressor.flush())
            self._compressor = None
        self.raw_size += len(prefix)
        self._prefix = _coded(prefix, self.coding) if prefix and self.coding else prefix

    async def sent(self) -> AsyncIterator[bytes]:
        """The bytes to send, in pieces."""
        position = 0
        for piece in self._stored():
            yield piece
            position += len(piece)
            if self.on_sent and position > self._reported:
                self.on_sent(position - self._reported)
                self._reported = position

    def expanded(self) -> "Body":
        """The same without a coding."""
        plain = Body(None)
        if self.coding is None:
            raise ValueError("the body has no coding")
        expander = codings.Expander(self.coding)
        for piece in self._stored():
            for expanded in expander.expand(piece):
                plain.write(expanded)
        plain.end()
        return plain

    def close(self) -> None:
        """Free the memory or the file."""
        self._spool.close()

    def _stored(self) -> Iterator[bytes]:
        if self._prefix:
            yield self._prefix
        yield from self._spool.pieces()


def _coded(data: bytes, coding: Coding) -> bytes:
    compressor = codings.compressor(coding)
    return compressor.compress(data) + compressor.flush()
