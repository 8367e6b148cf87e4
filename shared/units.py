"""Units of DynamoDB from the sizes of items, and the price class of each S3 operation.

    an item    the names and values of its attributes, in UTF-8
    a read     one unit for each 4 KB begun; half of that if it is eventually consistent
    a write    one unit for each 1 KB begun of the larger of the items before and after; twice
               that in a transaction

The capacity in a reply is not used, because emulators report wrong numbers.
"""

import math
from collections.abc import Mapping
from typing import Any

Item = Mapping[str, Mapping[str, Any]]
"""An item in the format of botocore: name → {type: value}."""

READ_BYTES = 4096
WRITE_BYTES = 1024

S3_PUTS = frozenset(
    "PutObject CopyObject ListObjectsV2 ListObjectVersions ListMultipartUploads"
    " CreateMultipartUpload UploadPart UploadPartCopy CompleteMultipartUpload".split()
)
S3_GETS = frozenset("GetObject HeadObject GetObjectAttributes HeadBucket GetBucketLocation".split())
S3_FREE = frozenset("DeleteObject DeleteObjects AbortMultipartUpload".split())


def item_size(item: Item) -> int:
    """The size of an item in bytes, as DynamoDB counts it."""
    size = 0
    for name, typed in item.items():
        size += len(name) if name.isascii() else len(name.encode())
        for kind, value in typed.items():
            if kind == "S":
                size += len(value) if value.isascii() else len(value.encode())
            else:
                size += _value_size(kind, value)
    return size


def read_units(size: int, *, consistent: bool) -> float:
    """The units of one read of `size` bytes."""
    return max(1, -(-size // READ_BYTES)) * (1 if consistent else 0.5)


def write_units(size: int) -> int:
    """The units of one write of an item of `size` bytes."""
    return max(1, -(-size // WRITE_BYTES))


def _value_size(kind: str, value: Any) -> int:
    if kind == "S":
        return len(value.encode())
    if kind == "B":
        return len(value)
    if kind == "N":
        digits = value.lstrip("-").replace(".", "").strip("0")
        return math.ceil(len(digits) / 2) + 1 + int(value.startswith("-"))
    if kind == "L":
        return 3 + sum(1 + _sized(element) for element in value)
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + _sized(element) for name, element in value.items())
    if kind in ("SS", "BS", "NS"):
        return sum(_value_size(kind[0], element) for element in value)
    return 1  # a boolean or null


def _sized(typed: Mapping[str, Any]) -> int:
    ((kind, value),) = typed.items()
    return _value_size(kind, value)
