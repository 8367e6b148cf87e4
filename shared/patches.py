"""A record as a patch of another one: what `zstd --patch-from` writes.

A patch is one zstd frame. Its prefix is the base: `zstd --patch-from=BASE -d`, or a decompressor with the base as
prefix (a raw dictionary). Its window has at most 8 MiB.
"""

import sys

from shared.codings import WINDOW_LOG

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL = 3
"""At level 1, a changed line in a manifest of 1 MB takes 370 kB: the base is not searched well enough."""


def patch(record: bytes, base: bytes) -> bytes:
    """A frame that expands to the record for a reader who has the base."""
    window_log = (len(record) + len(base)).bit_length()
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: LEVEL,
        zstd.CompressionParameter.window_log: min(max(window_log, 10), WINDOW_LOG),
        zstd.CompressionParameter.checksum_flag: 1,
    }
    return zstd.compress(record, options=options, zstd_dict=zstd.ZstdDict(base, is_raw=True).as_prefix)
