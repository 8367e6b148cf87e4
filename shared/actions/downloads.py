"""One object, or one file as it was at a branch or a commit: found, so that its bytes can be read."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared import names
from shared.actions import resolve
from shared.actions.records import manifest
from shared.errors import Damaged, ObjectNotFound, PathNotFound
from shared.model import Location, Place, Repo
from shared.stores import Stores

URL_SECONDS = 300
"""How long a URL to read from S3 is good for: it has to be followed at once, and serves whoever holds it."""


@dataclass(frozen=True, slots=True)
class Found:
    """An object of a repository and where it lies. Nothing of it has been read yet."""

    stores: Stores
    repo: Repo
    object_id: str
    at: Location

    @property
    def length(self) -> int:
        """Its size in bytes."""
        return self.at.length

    async def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to but not including `stop`."""
        return await self.stores.objects.read_part(self.repo.repo_id, self.object_id, self.at, start, stop)

    async def url(self, media_type: str, disposition: str) -> str | None:
        """Where to read it without us, for a few minutes; None where only we can read it."""
        return await self.stores.objects.presigned_get(
            self.repo.repo_id, self.object_id, self.at, URL_SECONDS, media_type, disposition
        )


@dataclass(frozen=True, slots=True)
class File:
    """A file of a snapshot. `is_fixed`: a commit was named, so that it can never be another."""

    path: str
    is_fixed: bool
    content: Found


async def find(stores: Stores, repo: Repo, object_id: str) -> Found:
    """The object of this id. Raises ObjectNotFound, also for what is no id."""
    if names.is_id(object_id):
        known = await stores.index.known(repo.repo_id, objects=[object_id], even_condemned=True)
        if object_id in known.objects:
            return Found(stores, repo, object_id, known.objects[object_id])
    raise ObjectNotFound()


async def file(stores: Stores, repo: Repo, ref_and_path: str) -> File:
    """The file at `<branch or commit id>/<path>`. The longest branch that the text begins with is meant.

    Raises RefNotFound or PathNotFound.
    """
    name, target = await resolve.longest_prefix(stores, repo, ref_and_path)
    snapshot_at = target.branch.snapshot_at if target.branch else None
    if snapshot_at is None:
        snapshot_at = await _snapshot_at(stores, repo, target.commit)
    path = ref_and_path[len(name) + 1 :]
    object_id = (await _manifest(stores, repo, snapshot_at)).get(path)
    if object_id is None:
        raise PathNotFound()
    try:
        return File(path, target.branch is None, await find(stores, repo, object_id))
    except ObjectNotFound:
        # An opaque id may name what was never sent; a digest was proven when its snapshot was accepted.
        if names.is_digest(object_id):
            raise Damaged(f"object {object_id}") from None
        raise PathNotFound() from None


async def _snapshot_at(stores: Stores, repo: Repo, place: Place) -> Location | None:
    return (await stores.commits.get(repo.repo_id, [place]))[place.commit_id].snapshot_at


async def _manifest(stores: Stores, repo: Repo, snapshot_at: Location | None) -> Mapping[str, str]:
    if snapshot_at is None:
        return {}
    records = await stores.objects.read_packed(repo.repo_id, [snapshot_at])
    return manifest(records[snapshot_at])
