"""One S3 bucket in few verbs. What AWS calls an error becomes one of ours here, and nowhere else.

repos/<repo_id>/packs/<sha256 of the pack>   many small things, see `packs`
repos/<repo_id>/objects/<object_id>          one large object
uploads/<repo_id>/<object_id>                quarantine: written by presigned URLs, believed by nobody
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import Unavailable
from shared.model import Version

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import CopySourceTypeDef

CHUNK = 1024 * 1024


class NoSuchKey(Exception):
    """There is nothing under this key, or nothing in the range that was asked for."""


class Changed(Exception):
    """What lies under the key is not, or no longer, what the condition asks for."""


@dataclass(frozen=True, slots=True)
class Stream:
    """An object being read: which version of it, how long it is, and its bytes."""

    version: Version
    length: int
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket that keeps bytes under keys."""

    client: "S3Client"
    name: str

    async def put(self, key: str, data: bytes) -> None:
        """Write an object; the same bytes again are harmless."""
        with translated():
            await self.client.put_object(Bucket=self.name, Key=key, Body=data)

    async def put_new(self, key: str, data: bytes) -> None:
        """Write an object unless there is one: the first writer's bytes stay."""
        try:
            with translated():
                await self.client.put_object(Bucket=self.name, Key=key, Body=data, IfNoneMatch="*")
        except Changed:
            pass

    async def get(self, key: str, start: int | None = None, stop: int | None = None) -> bytes:
        """The bytes under a key, or those from `start` up to but not including `stop`. Raises NoSuchKey."""
        with translated():
            if start is None or stop is None:
                reply = await self.client.get_object(Bucket=self.name, Key=key)
            else:
                reply = await self.client.get_object(Bucket=self.name, Key=key, Range=f"bytes={start}-{stop - 1}")
            # Not `async with`: that hands out the raw response, which does not compare lengths.
            try:
                data: bytes = await reply["Body"].read()
            finally:
                reply["Body"].close()
        return data

    async def stream(self, key: str) -> Stream:
        """The bytes under a key, a MiB at a time. Raises NoSuchKey."""
        with translated():
            reply = await self.client.get_object(Bucket=self.name, Key=key)

        async def chunks() -> AsyncIterator[bytes]:
            with translated():
                try:
                    while chunk := await reply["Body"].read(CHUNK):
                        yield chunk
                finally:
                    reply["Body"].close()

        return Stream(Version(reply["ETag"], reply.get("VersionId", "")), reply["ContentLength"], chunks())

    async def copy(self, source: str, key: str, version: Version) -> None:
        """Copy exactly what was read from `source`, whatever lies there by now. Raises NoSuchKey, or Changed.

        In a bucket without versions the entity tag must do: it is an MD5, which can be forged.
        """
        origin: CopySourceTypeDef = {"Bucket": self.name, "Key": source}
        if version.version_id:
            origin["VersionId"] = version.version_id
        with translated():
            await self.client.copy_object(Bucket=self.name, Key=key, CopySource=origin, CopySourceIfMatch=version.etag)

    async def presigned_put(self, key: str, ttl_seconds: int) -> str:
        """A URL that lets its bearer write this key, and nothing else, for so long. No call is made.

        Only the host is signed: the stock client sends a Content-Type of its own and cannot send more.
        """
        url: str = await self.client.generate_presigned_url(
            "put_object", Params={"Bucket": self.name, "Key": key}, ExpiresIn=ttl_seconds
        )
        return url


@contextmanager
def translated() -> Iterator[None]:
    """Turns S3's refusals into NoSuchKey and Changed, and every failure into Unavailable."""
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        code = error.response["Error"]["Code"]
        if code == "InvalidRange" or (status == 404 and code in ("NoSuchKey", "NoSuchVersion", "404")):
            raise NoSuchKey() from error
        if status == 412:
            raise Changed() from error
        raise Unavailable() from error
    except (TimeoutError, BotoCoreError, aiohttp.ClientError, OSError) as error:
        raise Unavailable() from error
