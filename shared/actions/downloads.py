"""One object, or one file as it was at a branch or a commit: found, so that its bytes can be read."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared import names
from shared.actions.records import manifest
from shared.errors import Damaged, ObjectNotFound, PathNotFound, RefNotFound
from shared.model import Location, Place, Ref, Repo
from shared.stores import Stores
from shared.tasks import pair

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
    """The file at `<branch or commit id>/<path>`. Of branches the longest that the text begins with is meant.

    Raises RefNotFound or PathNotFound.
    """
    first = ref_and_path.partition("/")[0]
    branches = [name for name in (*names.folders(ref_and_path), ref_and_path) if len(name) <= names.BRANCH_CHARACTERS]
    refs, commit = await pair(
        stores.refs.find(repo.repo_id, branches),
        _commit(stores, repo, first if names.is_digest(first) else ""),
    )
    branch = max(refs, key=len, default="")
    if not commit and not branch and not names.is_digest(first):
        commit = await _commit(stores, repo, first)
    if commit:
        name, snapshot_at = first, await _snapshot_at(stores, repo, commit)
    elif branch:
        name, snapshot_at = branch, await _head_snapshot_at(stores, repo, refs[branch])
    else:
        raise RefNotFound()
    path = ref_and_path[len(name) + 1 :]
    object_id = (await _manifest(stores, repo, snapshot_at)).get(path)
    if object_id is None:
        raise PathNotFound()
    try:
        return File(path, commit is not None, await find(stores, repo, object_id))
    except ObjectNotFound:
        # An opaque id may name what was never sent; a digest was proven when its snapshot was accepted.
        if names.is_digest(object_id):
            raise Damaged(f"object {object_id}") from None
        raise PathNotFound() from None


async def _commit(stores: Stores, repo: Repo, commit_id: str) -> Place | None:
    if not names.is_id(commit_id):
        return None
    known = await stores.index.known(repo.repo_id, commits=[commit_id], even_condemned=True)
    return known.commits.get(commit_id)


async def _head_snapshot_at(stores: Stores, repo: Repo, ref: Ref) -> Location | None:
    return ref.snapshot_at or await _snapshot_at(stores, repo, ref.head)


async def _snapshot_at(stores: Stores, repo: Repo, place: Place) -> Location | None:
    return (await stores.commits.get(repo.repo_id, [place]))[place.commit_id].snapshot_at


async def _manifest(stores: Stores, repo: Repo, snapshot_at: Location | None) -> Mapping[str, str]:
    if snapshot_at is None:
        return {}
    records = await stores.objects.read_packed(repo.repo_id, [snapshot_at])
    return manifest(records[snapshot_at])
