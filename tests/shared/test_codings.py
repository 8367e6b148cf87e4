"""Content codings: negotiation, and streams that are whole, damaged, cut off or larger than they
seem.
"""

import gzip
import random
import tracemalloc

import pytest
from backports import zstd

from shared import codings
from shared.codings import Coding, Expander
from shared.errors import MalformedBody, UnsupportedMedia

TEXT = b"a line that is repeated\n" * 40_000
NOISE = random.Random(7).randbytes(900_000)


def expanded(coding: Coding, stream: bytes, step: int = 65_536) -> bytes:
    """The bytes of a stream that arrives in pieces of `step` bytes."""
    expander = Expander(coding)
    pieces = [
        piece
        for start in range(0, len(stream), step)
        for piece in expander.expand(stream[start : start + step])
    ]
    expander.end()
    assert all(0 < len(piece) <= codings.PIECE_BYTES for piece in pieces)
    return b"".join(pieces)


def compressed(coding: Coding, data: bytes) -> bytes:
    compressor = codings.compressor(coding)
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("", None),
        ("identity", None),
        ("br, deflate", None),
        ("gzip", Coding.GZIP),
        ("zstd", Coding.ZSTD),
        ("gzip, zstd", Coding.ZSTD),
        ("GZIP;q=0.5 , Zstd;q=0.4", Coding.GZIP),
        ("*", Coding.ZSTD),
        ("zstd;q=0, *", Coding.GZIP),
        ("*;q=0", None),
        ("gzip;q=0.5, identity", None),
        ("gzip;q=high", None),
        ("gzip;q=7", None),
        ("gzip;q=nan", None),
        (",;,", None),
    ],
)
def test_a_reply_has_the_coding_that_the_request_prefers(
    header: str, coding: Coding | None
) -> None:
    assert codings.accepted(header) is coding


def test_a_body_is_gzip_or_zstd_or_not_compressed() -> None:
    assert [codings.of_body(name) for name in ("", " Identity", "GZIP", "zstd ")] == [
        None,
        None,
        Coding.GZIP,
        Coding.ZSTD,
    ]
    for name in ("br", "gzip, zstd", "x-gzip"):
        with pytest.raises(UnsupportedMedia):
            codings.of_body(name)


@pytest.mark.parametrize("coding", Coding)
@pytest.mark.parametrize("step", [1009, 65_536, 10_000_000])
def test_compressed_data_comes_back(coding: Coding, step: int) -> None:
    stream = compressed(coding, TEXT) + compressed(coding, b"") + compressed(coding, NOISE)
    assert expanded(coding, stream, step) == TEXT + NOISE
    assert len(compressed(coding, TEXT)) < len(TEXT) / 100


def test_streams_of_other_programs_are_read() -> None:
    assert expanded(Coding.GZIP, gzip.compress(TEXT)) == TEXT
    assert expanded(Coding.ZSTD, zstd.compress(TEXT)) == TEXT


@pytest.mark.parametrize("coding", Coding)
def test_a_stream_that_is_cut_off_or_damaged_is_refused(coding: Coding) -> None:
    stream = compressed(coding, TEXT + NOISE)
    damaged = bytearray(stream)
    damaged[len(stream) // 2] ^= 0x10
    for bad in (
        b"",
        stream[:-1],
        stream[: len(stream) // 2],
        bytes(damaged),
        stream + b"x",
        b"not compressed at all",
    ):
        with pytest.raises(MalformedBody):
            expanded(coding, bad)


def test_a_zstd_stream_with_a_larger_window_is_refused() -> None:
    data = random.Random(3).randbytes(20_000_000)
    for window_log, is_read in ((codings.WINDOW_LOG, True), (codings.WINDOW_LOG + 1, False)):
        compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: window_log})
        stream = compressor.compress(data) + compressor.flush()
        if is_read:
            assert expanded(Coding.ZSTD, stream) == data
        else:
            with pytest.raises(MalformedBody, match="8 MiB"):
                expanded(Coding.ZSTD, stream)


@pytest.mark.slow
@pytest.mark.parametrize("coding", Coding)
def test_a_small_body_that_expands_to_much_is_expanded_in_pieces(coding: Coding) -> None:
    compressor = codings.compressor(coding)
    stream = (
        b"".join(compressor.compress(bytes(1_000_000)) for _ in range(200)) + compressor.flush()
    )
    assert len(stream) < 300_000
    tracemalloc.start()
    size = sum(len(piece) for piece in Expander(coding).expand(stream))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == 200_000_000
    assert peak < 20_000_000
