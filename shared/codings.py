"""Content codings of HTTP: `zstd` (RFC 8878) and `gzip` (RFC 1952), in pieces and in bounded
memory.

RFC 9659 limits a zstd window to 8 MiB: then a reader knows how much memory it needs. A reader
refuses a larger window.
"""

import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from shared.errors import MalformedBody, UnsupportedMedia

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

WINDOW_LOG = 23
"""Base 2 logarithm of the largest zstd window: 8 MiB."""
ZSTD_LEVEL = 3
STORED_ZSTD_LEVEL = 9
"""For a stream that is stored once and sent often: three times the time of level 3, a sixth
shorter.
"""
GZIP_LEVEL = 4
"""Level 6 takes twice the time for replies that are a twentieth shorter."""
PIECE_BYTES = 256 * 1024
"""The most that is expanded at once: a small body may expand to a thousand times its size."""
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
_ANY = "*"


class Coding(StrEnum):
    """A content coding that the hub reads and writes, by its name in HTTP.

    The first is the preferred one.
    """

    ZSTD = "zstd"
    GZIP = "gzip"


@dataclass(frozen=True, slots=True)
class Frame:
    """A part of a zstd frame that is sent as it is stored.

    `expanded_bytes`: what this part adds to the reply.
    """

    data: bytes | memoryview
    expanded_bytes: int


class Compressor(Protocol):
    """What compresses a stream.

    The bytes of all replies, one after the other, are the compressed stream.
    """

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Take the next bytes. Returns compressed bytes, often none."""

    def flush(self) -> bytes:
        """End the stream. Returns its last bytes, which contain a checksum of the whole."""


def accepted(accept_encoding: str) -> Coding | None:
    """The coding for a reply to a request with this Accept-Encoding (RFC 9110, 12.5.3).

    None: send it as it is.
    """
    weights = dict(_weighed(accept_encoding))
    weight_of = {coding: weights.get(coding, weights.get(_ANY, 0.0)) for coding in Coding}
    best = max(Coding, key=weight_of.__getitem__)
    is_wanted = weight_of[best] > 0 and weight_of[best] >= weights.get("identity", 0.0)
    return best if is_wanted else None


def of_body(content_encoding: str) -> Coding | None:
    """The coding of a request body with this Content-Encoding.

    None: it is not compressed. Raises UnsupportedMedia.
    """
    name = content_encoding.strip().lower()
    if name in ("", "identity"):
        return None
    if name not in set(Coding):
        raise UnsupportedMedia("send the body with Content-Encoding gzip or zstd, or without one")
    return Coding(name)


def compressor(coding: Coding, zstd_level: int = ZSTD_LEVEL) -> Compressor:
    """A compressor of one stream."""
    if coding is Coding.GZIP:
        return zlib.compressobj(GZIP_LEVEL, wbits=_GZIP_FORMAT)
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: zstd_level,
        zstd.CompressionParameter.window_log: WINDOW_LOG,
        zstd.CompressionParameter.checksum_flag: 1,
    }
    return zstd.ZstdCompressor(options=options)


class Expander:
    """Expands one compressed stream, which may consist of several zstd frames or gzip members.

    `expand` and `end` raise MalformedBody for a stream that is damaged or cut off.
    """

    def __init__(self, coding: Coding) -> None:
        self._coding = coding
        self._frame: _Frame | None = None
        """The frame that has begun and not ended."""
        self._has_ended_frame = False

    def expand(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes of the stream.

        Yields the expanded bytes, in pieces of at most PIECE_BYTES.
        """
        while data or (self._frame and not self._frame.needs_input):
            frame = self._frame or _frame(self._coding)
            try:
                piece = frame.decompress(data, PIECE_BYTES)
            except (zlib.error, zstd.ZstdError) as error:
                raise MalformedBody(
                    f"the body is not valid {self._coding}, or needs a window above 8 MiB"
                ) from error
            data = frame.unused_data if frame.eof else b""
            self._has_ended_frame = frame.eof
            self._frame = None if frame.eof else frame
            if piece:
                yield piece

    def end(self) -> None:
        """The stream has no more bytes. Raises MalformedBody if some are missing."""
        if self._frame or not self._has_ended_frame:
            raise MalformedBody(f"the {self._coding} body is cut off; send it again")


class _Frame(Protocol):
    """A zstd frame or a gzip member that is being expanded, with the interface of
    zstd.ZstdDecompressor.
    """

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _GzipMember:
    """zlib's decompressor with the interface of zstd's: it keeps the input that it has not yet
    expanded.
    """

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=_GZIP_FORMAT)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._member.eof

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        piece = self._member.decompress(self._member.unconsumed_tail + data, max_length)
        # A full piece may have more behind it, in the tail or inside zlib.
        self.needs_input = len(piece) < max_length
        return piece


def _frame(coding: Coding) -> _Frame:
    if coding is Coding.GZIP:
        return _GzipMember()
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG})


def _weighed(accept_encoding: str) -> Iterator[tuple[str, float]]:
    """The codings of an Accept-Encoding header with their weights, from 0 to 1."""
    for part in accept_encoding.lower().split(","):
        name, *parameters = (item.strip() for item in part.split(";"))
        weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        if name:
            yield name, _number(weight)


def _number(weight: str) -> float:
    """A weight as a number. 0 for a text that is not one: then the coding is not used."""
    try:
        number = float(weight)
    except ValueError:
        return 0.0
    return number if 0 <= number <= 1 else 0.0
