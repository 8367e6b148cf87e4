"""The quarantine of a repository: bytes that clients upload to presigned URLs.

Uploads of objects wait here until a push has verified them. Staged request bodies wait here until
the request is sent. The lifecycle of the bucket deletes both.
"""

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import sha256

from shared import meter, prices
from shared.errors import HashMismatch, Unavailable
from shared.model import Location, Loose, ObjectId, RepoId, Upload
from shared.objects import keys
from shared.objects.bucket import Bucket, Changed, NoSuchKey, Stored, Stream

LISTED_PAGES = 4
"""The most LIST calls for one search of the quarantine."""
KEPT_DAYS = 3
"""An upload that no push accepts is deleted after at most this many days: the lifecycle of the
bucket counts one day, and rounds up to midnight twice.
"""
UNSIZED_BYTES = 16 * 1024 * 1024
"""The size that is charged for an upload whose size is unknown."""


class NotAdmitted(Exception):
    """An upload exists, but was not admitted, so it was not read."""


class FalseUpload(HashMismatch):
    """An upload whose content has another digest than its id promises; `etag` is that of the
    content.
    """

    def __init__(self, object_id: ObjectId, digest: str, etag: str) -> None:
        self.object_id = object_id
        self.etag = etag
        super().__init__("uploaded object", object_id, digest)


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The uploads and the staged request bodies of a repository."""

    bucket: Bucket
    repo_id: RepoId

    async def presign(self, object_id: ObjectId, ttl_seconds: int, size: int | None = None) -> str:
        """Return a URL to upload an object to. With a size, it accepts that number of bytes only.

        A push verifies the upload.
        """
        key = keys.upload(self.repo_id, object_id)
        return await self.bucket.presigned_put(key, ttl_seconds, size)

    async def presign_body(self, name: str, ttl_seconds: int, size: int) -> str:
        """Return a URL to upload a request body of this size to.

        `name` is new, so that no two bodies have one key.
        """
        key = keys.staged(self.repo_id, name)
        return await self.bucket.presigned_put(key, ttl_seconds, size)

    async def body(self, name: str) -> Stream | None:
        """Return a staged request body; None if nothing was uploaded."""
        try:
            return await self.bucket.stream(keys.staged(self.repo_id, name))
        except NoSuchKey:
            return None

    async def find(
        self, object_ids: Iterable[ObjectId]
    ) -> tuple[dict[ObjectId, Stored], list[ObjectId]]:
        """Return which of these objects were uploaded, and the ids that were not looked for.

        The quarantine is listed from one id to the next, in up to `LISTED_PAGES` calls of 1,000
        keys. Nothing is read.
        """
        prefix = keys.uploads(self.repo_id)
        found: dict[ObjectId, Stored] = {}
        waiting = deque(sorted(object_ids))
        for _ in range(LISTED_PAGES):
            if not waiting:
                break
            # S3 lists the keys after a key. The id without its last digit sorts before the id.
            page, has_more = await self.bucket.page(prefix, prefix + waiting[0][:-1])
            listed = {one.key.removeprefix(prefix): one for one in page}
            last = max(listed, default="") if has_more else "~"
            while waiting and waiting[0] <= last:
                object_id = waiting.popleft()
                if object_id in listed:
                    found[object_id] = listed[object_id]
        return found, list(waiting)

    async def check(
        self, object_id: ObjectId, admits: Callable[[int], bool] = lambda length: True
    ) -> Upload | None:
        """Read and hash the upload of an object. Returns None if it does not exist.

        `admits` gets its length in bytes before the read. If it returns False, raises NotAdmitted.
        Raises FalseUpload for content that has another digest.
        """
        try:
            stream = await self.bucket.stream(keys.upload(self.repo_id, object_id))
        except NoSuchKey:
            return None
        digest = sha256()
        async with aclosing(stream.chunks) as chunks:
            if not admits(stream.length):
                await stream.close()
                raise NotAdmitted()
            async for chunk in chunks:
                digest.update(chunk)
        if digest.hexdigest() != object_id:
            raise FalseUpload(object_id, digest.hexdigest(), stream.version.etag)
        return Upload(object_id, stream.version, stream.length)

    async def accept(self, upload: Upload) -> Location:
        """Copy an upload to the loose objects. Returns its location.

        Only the version that was checked is copied, because the client can still use the upload
        URL. Raises Unavailable if that version is absent.
        """
        object_id = upload.object_id
        source = keys.upload(self.repo_id, object_id)
        try:
            await self.bucket.copy(source, keys.loose(self.repo_id, object_id), upload.version)
        except (NoSuchKey, Changed):
            raise Unavailable(
                f"object {object_id} was uploaded again while it was checked; push again"
            ) from None
        return Loose(upload.length)

    async def versions(self, object_id: ObjectId) -> list[Stored]:
        """Return every version of the upload of an object."""
        key = keys.upload(self.repo_id, object_id)
        return [one async for one in self.bucket.versions(key) if one.key == key]

    async def body_versions(self) -> list[Stored]:
        """Return every version of every staged request body."""
        return [one async for one in self.bucket.versions(keys.staged_bodies(self.repo_id))]


async def reserve_uploads(sizes: Iterable[int | None]) -> None:
    """Charge uploads before their URLs are issued: a PUT, and storage for `KEPT_DAYS`.

    None stands for an unknown size. Raises CostLimited.
    """
    charged = [UNSIZED_BYTES if size is None else size for size in sizes]
    await meter.reserve_url(
        sum(prices.S3_PUT + prices.storage(size, KEPT_DAYS) for size in charged)
    )
