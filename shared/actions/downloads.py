"""Find an object, or a file at a branch or a commit. Its bytes are read later."""

from dataclasses import dataclass
from hashlib import sha256

from shared import names
from shared.actions import snapshots
from shared.actions.snapshots import Snapshot
from shared.errors import Damaged, ObjectNotFound, PathNotFound
from shared.model import Location, ObjectId, Sees
from shared.stores import RepoStores

URL_SECONDS = 300
"""Lifetime of a presigned URL to S3. Clients follow the redirect at once; a URL works for everyone
who has it."""


@dataclass(frozen=True, slots=True)
class Found:
    """An object of a repository and its location. None of its bytes have been read."""

    repository: RepoStores
    object_id: ObjectId
    at: Location

    @property
    def length(self) -> int:
        """Its size in bytes."""
        return self.at.length

    @property
    def is_fixed(self) -> bool:
        """Whether the id is a digest: then it names the same bytes for ever."""
        return names.is_digest(self.object_id)

    @property
    def tag(self) -> str:
        """Its entity tag: the digest, or a hash of the repository, the opaque id and the location.

        The location is included because gc may remove an object, and a later push may store other
        bytes under its id.
        """
        if self.is_fixed:
            return self.object_id
        return sha256(f"{self.repository.repo_id}#{self.object_id}#{self.at}".encode()).hexdigest()

    async def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to but not including `stop`."""
        return await self.repository.objects.read_part(self.object_id, self.at, start, stop)

    async def url(self, media_type: str, disposition: str) -> str | None:
        """A presigned URL to the object, valid for `URL_SECONDS`. None if only the hub can
        read it: an entry of a pack, or a store that is not AWS."""
        return await self.repository.objects.presigned_get(
            self.object_id, self.at, URL_SECONDS, media_type, disposition
        )


@dataclass(frozen=True, slots=True)
class File:
    """A file of a snapshot.

    `is_fixed`: every id on the way to it is a digest, so its content can never change.
    """

    path: str
    is_fixed: bool
    content: Found


async def find(repository: RepoStores, object_id: ObjectId) -> Found:
    """The object with this id. Raises ObjectNotFound, also for a text that is not a valid id.

    Budget: 4 AWS calls, chain of 3 (GET one object).
    """
    if names.is_id(object_id):
        known = await repository.index.readable(objects=[object_id])
        if object_id in known.objects:
            return Found(repository, object_id, known.objects[object_id])
    raise ObjectNotFound()


async def file(repository: RepoStores, ref_and_path: str, sees: Sees) -> File:
    """The file at `<branch or commit id>/<path>`. The longest branch name that fits is used.

    Raises RefNotFound or PathNotFound.

    Budget: 5 AWS calls, chain of 4 (GET raw, a file of a branch).
    """
    return await file_of(repository, await snapshots.at(repository, ref_and_path, sees))


async def file_of(repository: RepoStores, snapshot: Snapshot, path: str | None = None) -> File:
    """A file of a snapshot, by default the one that the request named. Raises PathNotFound."""
    path = snapshot.path if path is None else path
    object_id = snapshot.files.get(path)
    if object_id is None:
        raise PathNotFound()
    try:
        return File(path, snapshot.is_fixed, await find(repository, object_id))
    except ObjectNotFound:
        # An object with an opaque id may never have been sent. A digest was checked when its
        # snapshot was accepted.
        if names.is_digest(object_id):
            raise Damaged(f"object {object_id}") from None
        raise PathNotFound() from None
