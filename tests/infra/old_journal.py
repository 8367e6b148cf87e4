"""Journals of earlier versions of `make serve`, for tests of the migration. Not a test module."""

import gzip
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.aws_request import Request
from infra.journal import CHECK, LENGTHS, MAGIC

RECORDED = Path(__file__).with_name("journal_of_moto.gz")
"""The journal of a hub of 27 November 2026: `me/song` with `main` and `dev`, a presigned object of
1.2 MB, the private `me/hidden`, the deleted `me/gone`, and reserved space after a kill -9.
"""


def record(request: Request) -> bytes:
    """Return a request as the earlier version wrote it."""
    head = json.dumps([request.method, request.target, request.headers]).encode()
    lengths = LENGTHS.pack(len(head), len(request.body), zlib.crc32(request.body, zlib.crc32(head)))
    return lengths + CHECK.pack(zlib.crc32(lengths)) + head + request.body


def journal(requests: Sequence[Request]) -> bytes:
    """Return the file with these requests."""
    return MAGIC + b"".join(map(record, requests))


def write(folder: Path, content: bytes) -> Path:
    """Make a data folder with this journal. Returns the path of the journal."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "journal"
    path.write_bytes(content)
    return path


def recorded() -> bytes:
    """Return the recorded journal."""
    return gzip.decompress(RECORDED.read_bytes())


def rows(*writes: dict[str, Any]) -> Request:
    """Return a BatchWriteItem to the hub table."""
    body = json.dumps({"RequestItems": {"pieria-hub": writes}}).encode()
    return Request("POST", "/", {"x-amz-target": "DynamoDB_20120810.BatchWriteItem"}, body)


def put_row(sort_key: str, **attributes: Any) -> dict[str, Any]:
    """Return the write of a row."""
    return {"PutRequest": {"Item": {"pk": {"S": "p"}, "sk": {"S": sort_key}, **attributes}}}


def delete_row(sort_key: str) -> dict[str, Any]:
    """Return the deletion of a row."""
    return {"DeleteRequest": {"Key": {"pk": {"S": "p"}, "sk": {"S": sort_key}}}}


def put_object(key: str, body: bytes, version: str, at: str = "2026-11-20T10:00:00") -> Request:
    """Return the write of an object."""
    headers = {"x-amz-version-id": version, "last-modified": at}
    return Request("PUT", f"/pieria/{key}?x-id=PutObject", headers, body)


def delete_objects(*versions: tuple[str, str]) -> Request:
    """Return the deletion of versions of objects."""
    objects = "".join(
        f"<Object><Key>{key}</Key><VersionId>{version}</VersionId></Object>"
        for key, version in versions
    )
    namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
    body = f'<Delete xmlns="{namespace}">{objects}</Delete>'.encode()
    return Request("POST", "/pieria?delete", {}, body)
