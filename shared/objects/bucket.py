"""One S3 bucket in few verbs. What AWS calls an error becomes one of ours here, and nowhere else.

repos/<repo_id>/packs/<sha256 of the pack>   many small things, see `packs`
repos/<repo_id>/objects/<object_id>          one large object
repos/<repo_id>/bundles/<sha256 of the bundle>
                                             a whole clone, ready to be sent: see `actions/bundles`
uploads/<repo_id>/<object_id>                quarantine: uploads to presigned URLs that are not verified yet
uploads/<repo_id>/staged/<random name>       bodies of requests, uploaded to presigned URLs: see `staging`
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import Unavailable
from shared.model import Version

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import CopySourceTypeDef

CHUNK = 1024 * 1024
DNS_SUFFIXES_OF_AWS = (
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".amazonaws.eu",
    ".c2s.ic.gov",
    ".sc2s.sgov.gov",
    ".cloud.adc-e.uk",
    ".csp.hci.ic.gov",
)
"""One for each partition of AWS (botocore's `data/partitions.json`)."""


class NoSuchKey(Exception):
    """There is nothing under this key, or nothing in the range that was asked for."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of an object: `modified` in epoch seconds, by S3's clock. `etag` is known from `page` only."""

    key: str
    version: str
    size: int
    modified: float
    etag: str = ""


class Changed(Exception):
    """What lies under the key is not, or no longer, what the condition asks for."""


@dataclass(frozen=True, slots=True)
class Stream:
    """An object being read: which version of it, how long it is, and its bytes."""

    version: Version
    length: int
    chunks: AsyncGenerator[bytes, None]

    async def close(self) -> None:
        """Read no further. Also closes the connection of a stream that was not read."""
        await anext(self.chunks, b"")  # a generator that has not started would not close its connection
        await self.chunks.aclose()


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket that keeps bytes under keys."""

    client: "S3Client"
    name: str

    @property
    def is_aws(self) -> bool:
        """Whether this is S3 itself, which every client can reach. A client may not reach an emulator."""
        host = urlsplit(self.client.meta.endpoint_url).hostname or ""
        return host.endswith(DNS_SUFFIXES_OF_AWS)

    async def put(self, key: str, data: bytes) -> None:
        """Write an object; the same bytes again are harmless."""
        with translated():
            await self.client.put_object(Bucket=self.name, Key=key, Body=data)

    async def get(self, key: str, start: int | None = None, stop: int | None = None, version: str = "") -> bytes:
        """The bytes under a key, or those from `start` up to but not including `stop`. Raises NoSuchKey.

        `version` is that of an older content; without it, the present one is read.
        """
        options: dict[str, str] = {"VersionId": version} if version else {}
        if start is not None and stop is not None:
            options["Range"] = f"bytes={start}-{stop - 1}"
        with translated():
            reply = await self.client.get_object(Bucket=self.name, Key=key, **options)  # type: ignore[arg-type]
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

        async def chunks() -> AsyncGenerator[bytes, None]:
            with translated():
                try:
                    while chunk := await reply["Body"].read(CHUNK):
                        yield chunk
                finally:
                    reply["Body"].close()

        return Stream(Version(reply["ETag"], reply.get("VersionId", "")), reply["ContentLength"], chunks())

    async def list(self, prefix: str) -> AsyncIterator[Stored]:
        """What lies under a prefix, by key. A thousand keys a call."""
        token: dict[str, str] = {}
        while True:
            with translated():
                reply = await self.client.list_objects_v2(Bucket=self.name, Prefix=prefix, **token)  # type: ignore[arg-type]
            for found in reply.get("Contents", []):
                yield Stored(found["Key"], "", found["Size"], found["LastModified"].timestamp())
            if not reply.get("IsTruncated"):
                return
            token = {"ContinuationToken": reply["NextContinuationToken"]}

    async def page(self, prefix: str, after: str) -> tuple[Sequence[Stored], bool]:
        """Up to 1,000 objects under a prefix, in the order of their keys, from behind the key `after`.

        Also returns whether there are more. One call.
        """
        with translated():
            reply = await self.client.list_objects_v2(Bucket=self.name, Prefix=prefix, StartAfter=after)
        listed = [
            Stored(found["Key"], "", found["Size"], found["LastModified"].timestamp(), found["ETag"])
            for found in reply.get("Contents", [])
        ]
        return listed, bool(reply.get("IsTruncated"))

    async def versions(self, prefix: str) -> AsyncIterator[Stored]:
        """Every version under a prefix, marks of deletion included (of size 0), by key."""
        marker: dict[str, str] = {}
        while True:
            with translated():
                reply = await self.client.list_object_versions(Bucket=self.name, Prefix=prefix, **marker)  # type: ignore[arg-type]
            for found in reply.get("Versions", []):
                yield Stored(found["Key"], found["VersionId"], found["Size"], found["LastModified"].timestamp())
            for mark in reply.get("DeleteMarkers", []):
                yield Stored(mark["Key"], mark["VersionId"], 0, mark["LastModified"].timestamp())
            if not reply.get("IsTruncated"):
                return
            marker = {"KeyMarker": reply["NextKeyMarker"], "VersionIdMarker": reply["NextVersionIdMarker"]}

    async def remove(self, versions: Sequence[Stored]) -> None:
        """Remove these versions for good, up to 1,000. One that is written meanwhile is another, and stays."""
        objects: Any = [{"Key": found.key, "VersionId": found.version} for found in versions]
        with translated():
            reply = await self.client.delete_objects(Bucket=self.name, Delete={"Objects": objects, "Quiet": True})
        if reply.get("Errors"):
            raise Unavailable()

    async def copy(self, source: str, key: str, version: Version) -> None:
        """Copy exactly what was read from `source`, whatever lies there by now. Raises NoSuchKey, or Changed.

        In a bucket without versions the entity tag must do: it is an MD5, which can be forged.
        """
        origin: CopySourceTypeDef = {"Bucket": self.name, "Key": source}
        if version.version_id:
            origin["VersionId"] = version.version_id
        with translated():
            await self.client.copy_object(Bucket=self.name, Key=key, CopySource=origin, CopySourceIfMatch=version.etag)

    async def presigned_put(self, key: str, ttl_seconds: int, size: int | None = None) -> str:
        """A URL that lets its bearer write this key for this time, and nothing else. No call is made.

        With a size, the signature covers Content-Length: S3 refuses a body of another length. Otherwise it covers the
        host alone, because the stock client sends headers of its own and cannot send others.
        """
        parameters: dict[str, Any] = {"Bucket": self.name, "Key": key}
        if size is not None:
            parameters["ContentLength"] = size
        url: str = await self.client.generate_presigned_url("put_object", Params=parameters, ExpiresIn=ttl_seconds)
        return url

    async def presigned_get(self, key: str, ttl_seconds: int, media_type: str, disposition: str) -> str:
        """A URL that lets its bearer read this key for so long, with these headers. No call is made."""
        parameters = {
            "Bucket": self.name,
            "Key": key,
            "ResponseContentType": media_type,
            "ResponseContentDisposition": disposition,
        }
        url: str = await self.client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=ttl_seconds)
        return url


@contextmanager
def translated() -> Iterator[None]:
    """Turns S3's refusals into NoSuchKey and Changed, and every failure into Unavailable."""
    import aiohttp  # late: a function that starts need not wait for it

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
