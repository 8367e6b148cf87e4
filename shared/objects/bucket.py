"""The contract of a bucket of objects. `shared.engines` implements it for S3 and for a folder.
`objects.keys` lists the keys.

A write is durable when its call returns. Each verb raises Unavailable if the engine fails.
"""

from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.model import Version

CHUNK_BYTES = 1024 * 1024


class NoSuchKey(Exception):
    """The key has no object, or the requested range has no bytes."""


class Changed(Exception):
    """The object under the key does not match the condition (any more)."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A version of an object. `modified` is in epoch seconds. Only `page` sets `etag`."""

    key: str
    version: str
    size: int
    modified: float
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Stream:
    """An object that is being read: its version, its length and its bytes."""

    version: Version
    length: int
    chunks: AsyncGenerator[bytes, None]

    async def close(self) -> None:
        """Stop reading, and close the connection, also that of a stream that was not read."""
        await anext(
            self.chunks, b""
        )  # a generator that has not started would not close its connection
        await self.chunks.aclose()


class Bucket(Protocol):
    """A bucket."""

    @property
    @abstractmethod
    def is_aws(self) -> bool:
        """Whether this is S3 itself. Clients may be unable to reach every other store."""

    @property
    @abstractmethod
    def origin(self) -> str:
        """The origin of presigned URLs, for the policy of a web page.

        Empty unless this is S3 itself.
        """

    @abstractmethod
    async def put(self, key: str, data: bytes) -> None:
        """Write an object. A repeated write of the same bytes is harmless."""

    @abstractmethod
    async def get(
        self, key: str, start: int | None = None, stop: int | None = None, version: str = ""
    ) -> bytes:
        """Read an object, or its bytes from `start` up to `stop`, exclusive. Raises NoSuchKey.

        Without `version`, the current version is read.
        """

    @abstractmethod
    async def stream(self, key: str) -> Stream:
        """Read an object in chunks of `CHUNK_BYTES`. Raises NoSuchKey."""

    @abstractmethod
    def list(self, prefix: str) -> AsyncIterator[Stored]:
        """Yield the objects under a prefix by key. One call for every 1,000 keys."""

    @abstractmethod
    async def page(self, prefix: str, after: str) -> tuple[Sequence[Stored], bool]:
        """Return up to 1,000 objects under a prefix after the key `after`, and if more follow.

        One call.
        """

    @abstractmethod
    def versions(self, prefix: str) -> AsyncIterator[Stored]:
        """Yield every version under a prefix by key, with delete markers (of size 0)."""

    @abstractmethod
    async def remove(self, versions: Sequence[Stored]) -> None:
        """Delete up to 1,000 versions permanently. Later versions of the keys stay."""

    @abstractmethod
    async def copy(self, source: str, key: str, version: Version) -> None:
        """Copy exactly this version of `source`, even if there is a newer one.

        In a bucket without versioning, only the entity tag identifies the version. It is an MD5,
        which can be forged. Raises NoSuchKey or Changed.
        """

    @abstractmethod
    async def presigned_put(self, key: str, ttl_seconds: int, size: int | None = None) -> str:
        """Make a URL that allows its holder to write this key for this time. Makes no call.

        With a size, a body of another length is refused. Without one, the signature covers only
        the host, because the stock client cannot send given headers.
        """

    @abstractmethod
    async def presigned_get(
        self, key: str, ttl_seconds: int, media_type: str, disposition: str
    ) -> str:
        """Make a URL that allows its holder to read this key for this time. Makes no call."""
