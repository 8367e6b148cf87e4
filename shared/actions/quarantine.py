"""Objects that were uploaded to presigned URLs and that no push has accepted yet.

    presign          records on the repository's row that URLs were given out
    filter-objects   counts an upload as present, without reading it
    push             reads and hashes it, copies it to its place, and then a row points to it

A repository that gave out no URL for `QUARANTINE_SECONDS` has nothing in quarantine, and S3 is not
asked. Otherwise the ids are compared with a list of the quarantine, so that an id that was never
uploaded costs no call of its own.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import partial

from shared import names
from shared import pushed_bundle as bundles
from shared.errors import MissingReference, Unavailable, UploadsPending
from shared.metadata.table import chunked
from shared.model import Kind, Location, Loose, ObjectId, Repo, Upload
from shared.objects.quarantine import FalseUpload, NotAdmitted
from shared.pushed_bundle import PushedBundle
from shared.stores import RepoStores
from shared.tasks import gather_all, gather_pair

QUARANTINE_SECONDS = 3 * 24 * 3600
"""Longer than an upload is kept.

S3 expires it one day after it was made, at the next midnight (UTC).
"""
FEW = 16
"""Up to this many objects are read at once without a list: to read them takes one call each anyway.
"""
WAY_OUT = (
    "push again, which uploads it; if it is missing again, the client has lost it: run muse verify"
)
VERIFIED_AT_ONCE = 32
VERIFIED_OBJECTS = 1_000
VERIFIED_BYTES = 1024**3
"""The most that one push verifies.

Lambda reads some 75 MB a second from S3, and a push has 29 seconds.
"""


def may_hold_uploads(repo: Repo, now: float) -> bool:
    """Whether the quarantine of a repository may hold anything."""
    return now - repo.presigned_at < QUARANTINE_SECONDS


async def uploaded(
    repository: RepoStores, object_ids: Collection[ObjectId], *, by: str, now: float
) -> set[ObjectId]:
    """Those of these objects that are in quarantine, except for uploads that a push of this user
    found to be false.

    They are not verified: the push does that.
    """
    if not may_hold_uploads(repository.repo, now):
        return set()
    provable = [object_id for object_id in object_ids if names.is_digest(object_id)]
    if not provable:
        return set()
    (found, _), false = await gather_pair(
        repository.quarantine.find(provable),
        repository.stores.counters.false_uploads(repository.repo_id, by, int(now)),
    )
    return {object_id for object_id, one in found.items() if f"{object_id} {one.etag}" not in false}


class _Budget:
    """The bytes that one push may still verify. The first object is admitted, whatever its size."""

    def __init__(self, most_bytes: int) -> None:
        self._used_bytes = 0
        self._most_bytes = most_bytes
        self.large: dict[ObjectId, int] = {}
        """The bytes of objects that are over the limit of `most_bytes`. No push verifies them."""

    def admits(self, object_id: ObjectId, size_bytes: int) -> bool:
        """Whether this object is verified in this push."""
        if size_bytes > self._most_bytes:
            self.large[object_id] = size_bytes
            return False
        if self._used_bytes and self._used_bytes + size_bytes > VERIFIED_BYTES:
            return False
        self._used_bytes += size_bytes
        return True


async def verified(
    repository: RepoStores,
    bundle: PushedBundle,
    object_ids: Collection[ObjectId],
    *,
    by: str,
    now: float,
) -> list[Upload]:
    """Read and hash these objects of a bundle, all of which must be in quarantine.

    Raises MissingReference for absent objects, FalseUpload for content with another digest,
    TooLarge, and UploadsPending for more than one push verifies: then the verified ones are stored.
    """
    if not object_ids:
        return []
    if not may_hold_uploads(repository.repo, now):
        raise MissingReference("object", object_ids, WAY_OUT)
    waiting = sorted(object_ids)
    if len(waiting) > FEW:
        waiting = await _listed(repository, bundle, waiting)
    found: list[Upload] = []
    most_bytes = repository.stores.settings.max_object_bytes
    budget = _Budget(most_bytes)
    for group in chunked(waiting[:VERIFIED_OBJECTS], VERIFIED_AT_ONCE):
        verified_now = await _verify(repository, group, budget, by, int(now))
        bundles.check_sizes(budget.large, most_bytes, bundle)
        found += verified_now
        if len(verified_now) < len(group):
            break
    left = len(object_ids) - len(found)
    if left:
        await accept(repository, found)
        raise UploadsPending(len(found), left)
    return found


async def accept(repository: RepoStores, uploads: Sequence[Upload]) -> None:
    """Copy verified uploads to their place, and then write the rows that point to them."""
    await gather_all(repository.quarantine.accept(upload) for upload in uploads)
    rows: dict[tuple[Kind, str], Location] = {
        (Kind.OBJECT, upload.object_id): Loose(upload.length) for upload in uploads
    }
    await repository.index.put_locations(rows)


async def _listed(
    repository: RepoStores, bundle: PushedBundle, object_ids: Sequence[ObjectId]
) -> list[ObjectId]:
    """Those of these objects that the list shows.

    Raises MissingReference for those that it does not show, and TooLarge for those that no push
    verifies.
    """
    found, unknown = await repository.quarantine.find(object_ids)
    sizes = {object_id: one.size for object_id, one in found.items()}
    bundles.check_sizes(sizes, repository.stores.settings.max_object_bytes, bundle)
    absent = set(object_ids) - found.keys() - set(unknown)
    if absent:
        raise MissingReference("object", absent, WAY_OUT)
    return list(found)


async def _verify(
    repository: RepoStores, object_ids: Sequence[ObjectId], budget: _Budget, by: str, now: int
) -> list[Upload]:
    """Read and hash these uploads at once, as far as the budget admits.

    Raises MissingReference or FalseUpload.
    """
    checked = await gather_all(_check(repository, object_id, budget) for object_id in object_ids)
    false = [one for one in checked if isinstance(one, FalseUpload)]
    if false:
        # The note only spares the client a push that cannot succeed.
        with suppress(Unavailable):
            uploads = [f"{one.object_id} {one.etag}" for one in false]
            await repository.stores.counters.remember_false_uploads(
                repository.repo_id, by, uploads, now
            )
        raise false[0]
    results = zip(object_ids, checked, strict=True)
    absent = {object_id for object_id, one in results if one is None}
    if absent:
        raise MissingReference("object", absent, WAY_OUT)
    return [one for one in checked if isinstance(one, Upload)]


async def _check(
    repository: RepoStores, object_id: ObjectId, budget: _Budget
) -> Upload | FalseUpload | NotAdmitted | None:
    try:
        return await repository.quarantine.check(object_id, partial(budget.admits, object_id))
    except (FalseUpload, NotAdmitted) as reason:
        return reason
