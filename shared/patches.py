"""A record as a patch of another one: what `zstd --patch-from` writes.

A patch is one zstd frame. Its prefix is the base: `zstd --patch-from=BASE -d`, or a decompressor
with the base as prefix (a raw dictionary). Its window has at most 8 MiB.
"""

from shared.codings import WINDOW_LOG, zstd

LEVEL = 3
"""At level 1, a changed line in a manifest of 1 MB takes 370 kB: the base is not searched well
enough.
"""
LARGEST_BYTES = 64 * 1024 * 1024
"""A patch that expands to more is refused: no reply has a larger record."""


def patch(record: bytes, base: bytes) -> bytes:
    """A frame that expands to the record for a reader who has the base."""
    window_log = (len(record) + len(base)).bit_length()
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: LEVEL,
        zstd.CompressionParameter.window_log: min(max(window_log, 10), WINDOW_LOG),
        zstd.CompressionParameter.checksum_flag: 1,
    }
    return zstd.compress(
        record, options=options, zstd_dict=zstd.ZstdDict(base, is_raw=True).as_prefix
    )


def expand(frame: bytes, base: bytes) -> bytes:
    """The record of a patch.

    Raises ValueError for a damaged patch, another base, or a record above LARGEST_BYTES.
    """
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
    dictionary = zstd.ZstdDict(base, is_raw=True).as_prefix
    decompressor = zstd.ZstdDecompressor(zstd_dict=dictionary, options=options)
    try:
        record = decompressor.decompress(frame, LARGEST_BYTES)
    except zstd.ZstdError as error:
        raise ValueError("the patch is damaged, or of another base") from error
    if not decompressor.eof or decompressor.unused_data:
        raise ValueError("the patch is not one whole frame, or is too large")
    return record
