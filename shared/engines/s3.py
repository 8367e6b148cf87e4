"""The objects of one S3 bucket. Errors of AWS are translated here, and nowhere else."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import Unavailable
from shared.model import Version
from shared.objects.bucket import CHUNK_BYTES, Bucket, Changed, NoSuchKey, Stored, Stream

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import CopySourceTypeDef

DNS_SUFFIXES_OF_AWS = (
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".amazonaws.eu",
    ".c2s.ic.gov",
    ".sc2s.sgov.gov",
    ".cloud.adc-e.uk",
    ".csp.hci.ic.gov",
)
"""The suffix of each partition of AWS (botocore's `data/partitions.json`)."""


@dataclass(frozen=True, slots=True)
class S3Bucket(Bucket):
    """A bucket of S3."""

    client: "S3Client"
    name: str

    @property
    def is_aws(self) -> bool:
        """Whether this is S3 itself, not an emulator, which clients may be unable to reach."""
        host = urlsplit(self.client.meta.endpoint_url).hostname or ""
        return host.endswith(DNS_SUFFIXES_OF_AWS)

    @property
    def origin(self) -> str:
        """The origin of presigned URLs, for the policy of a web page.

        Empty unless this is S3 itself.
        """
        host = urlsplit(self.client.meta.endpoint_url).hostname
        return f"https://{self.name}.{host}" if self.is_aws else ""

    async def put(self, key: str, data: bytes) -> None:
        """Write an object. A repeated write of the same bytes is harmless."""
        with translated():
            await self.client.put_object(Bucket=self.name, Key=key, Body=data)

    async def get(
        self, key: str, start: int | None = None, stop: int | None = None, version: str = ""
    ) -> bytes:
        """Read an object, or its bytes from `start` up to `stop`, exclusive. Raises NoSuchKey.

        Without `version`, the current version is read.
        """
        options: dict[str, str] = {"VersionId": version} if version else {}
        if start is not None and stop is not None:
            options["Range"] = f"bytes={start}-{stop - 1}"
        with translated():
            reply = await self.client.get_object(Bucket=self.name, Key=key, **options)  # type: ignore[arg-type]
            # Not `async with`: it returns the raw response, which does not check the length.
            try:
                data: bytes = await reply["Body"].read()
            finally:
                reply["Body"].close()
        return data

    async def stream(self, key: str) -> Stream:
        """Read an object in chunks of `CHUNK_BYTES`. Raises NoSuchKey."""
        with translated():
            reply = await self.client.get_object(Bucket=self.name, Key=key)

        async def chunks() -> AsyncGenerator[bytes, None]:
            with translated():
                try:
                    while chunk := await reply["Body"].read(CHUNK_BYTES):
                        yield chunk
                finally:
                    reply["Body"].close()

        return Stream(
            Version(reply["ETag"], reply.get("VersionId")), reply["ContentLength"], chunks()
        )

    async def list(self, prefix: str) -> AsyncIterator[Stored]:
        """Yield the objects under a prefix by key. One call for every 1,000 keys."""
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
        """Return up to 1,000 objects under a prefix after the key `after`, and if more follow.

        One call.
        """
        with translated():
            reply = await self.client.list_objects_v2(
                Bucket=self.name, Prefix=prefix, StartAfter=after
            )
        listed = [
            Stored(
                found["Key"], "", found["Size"], found["LastModified"].timestamp(), found["ETag"]
            )
            for found in reply.get("Contents", [])
        ]
        return listed, bool(reply.get("IsTruncated"))

    async def versions(self, prefix: str) -> AsyncIterator[Stored]:
        """Yield every version under a prefix by key, with delete markers (of size 0)."""
        marker: dict[str, str] = {}
        while True:
            with translated():
                reply = await self.client.list_object_versions(
                    Bucket=self.name,
                    Prefix=prefix,
                    **marker,  # type: ignore[arg-type]
                )
            for found in reply.get("Versions", []):
                yield Stored(
                    found["Key"],
                    found["VersionId"],
                    found["Size"],
                    found["LastModified"].timestamp(),
                )
            for mark in reply.get("DeleteMarkers", []):
                yield Stored(mark["Key"], mark["VersionId"], 0, mark["LastModified"].timestamp())
            if not reply.get("IsTruncated"):
                return
            marker = {
                "KeyMarker": reply["NextKeyMarker"],
                "VersionIdMarker": reply["NextVersionIdMarker"],
            }

    async def remove(self, versions: Sequence[Stored]) -> None:
        """Delete up to 1,000 versions permanently. Later versions of the keys stay."""
        objects: Any = [{"Key": found.key, "VersionId": found.version} for found in versions]
        with translated():
            reply = await self.client.delete_objects(
                Bucket=self.name, Delete={"Objects": objects, "Quiet": True}
            )
        if reply.get("Errors"):
            raise Unavailable()

    async def copy(self, source: str, key: str, version: Version) -> None:
        """Copy exactly this version of `source`, even if there is a newer one.

        In a bucket without versioning, only the entity tag identifies the version. It is an MD5,
        which can be forged. Raises NoSuchKey or Changed.
        """
        origin: CopySourceTypeDef = {"Bucket": self.name, "Key": source}
        if version.version_id is not None:
            origin["VersionId"] = version.version_id
        with translated():
            await self.client.copy_object(
                Bucket=self.name, Key=key, CopySource=origin, CopySourceIfMatch=version.etag
            )

    async def presigned_put(self, key: str, ttl_seconds: int, size: int | None = None) -> str:
        """Make a URL that allows its holder to write this key for this time. Makes no call.

        With a size, the signature covers Content-Length, so S3 refuses a body of another length.
        Without one, it covers only the host, because the stock client cannot send given headers.
        """
        parameters: dict[str, Any] = {"Bucket": self.name, "Key": key}
        if size is not None:
            parameters["ContentLength"] = size
        url: str = await self.client.generate_presigned_url(
            "put_object", Params=parameters, ExpiresIn=ttl_seconds
        )
        return url

    async def presigned_get(
        self, key: str, ttl_seconds: int, media_type: str, disposition: str
    ) -> str:
        """Make a URL that allows its holder to read this key for this time. Makes no call."""
        parameters = {
            "Bucket": self.name,
            "Key": key,
            "ResponseContentType": media_type,
            "ResponseContentDisposition": disposition,
        }
        url: str = await self.client.generate_presigned_url(
            "get_object", Params=parameters, ExpiresIn=ttl_seconds
        )
        return url


@contextmanager
def translated() -> Iterator[None]:
    """Raise NoSuchKey or Changed for refusals of S3, and Unavailable for every other failure."""
    import aiohttp  # imported here, so that a function starts faster

    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        code = error.response["Error"]["Code"]
        if code == "InvalidRange" or (
            status == 404 and code in ("NoSuchKey", "NoSuchVersion", "404")
        ):
            raise NoSuchKey() from error
        if status == 412:
            raise Changed() from error
        raise Unavailable() from error
    except (TimeoutError, BotoCoreError, aiohttp.ClientError, OSError) as error:
        raise Unavailable() from error
