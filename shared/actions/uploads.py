"""Objects outside a push: which ones are missing, their upload, and URLs for large ones."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from shared import codec, names, packs, pushed_bundle
from shared.actions import quarantine, repos
from shared.actions.refs import default_branch
from shared.errors import Damaged, Unavailable
from shared.graph.records import manifest
from shared.limits import Limits
from shared.model import Kind, Location, Loose, ObjectId
from shared.objects.quarantine import reserve_uploads
from shared.packs import Pack
from shared.protocol.push import FilterObjects, Presign, Presigned, PushObjects, StoredObjects
from shared.stores import RepoStores
from shared.tasks import gather_all

FIRST_BRANCHES = 10
"""The most branches among which another default branch is chosen."""
MANY_OBJECTS = 500
"""Above this many ids, the manifest of the default branch is read first.

That takes two more steps, and no index read for the files found there.
"""
SIGNED_HEADER_BYTES = 2 * len("content-length%3B")
"""The most bytes that a signed length adds to a URL in a reply: base64 less than doubles it."""
MANIFEST_BYTES = 8 * 1024 * 1024
"""Larger manifests (about 80,000 files) are skipped."""


@dataclass(frozen=True, slots=True)
class UploadBatch:
    """Bytes to store in S3: one pack with the small items, and each large object by itself.

    All locations are known before the first write.
    """

    pack: Pack
    loose: Mapping[ObjectId, bytes]
    locations: Mapping[tuple[Kind, str], Location]

    @classmethod
    def of(
        cls,
        limits: Limits,
        objects: Mapping[ObjectId, bytes],
        records: Sequence[tuple[Kind, str, bytes]] = (),
    ) -> "UploadBatch":
        """A batch of objects, and of records, which are packed at any size."""
        small = [
            (Kind.OBJECT, i, content)
            for i, content in objects.items()
            if len(content) <= limits.loose_object_bytes
        ]
        loose = {
            i: content for i, content in objects.items() if len(content) > limits.loose_object_bytes
        }
        pack = packs.build([*small, *records])
        locations: dict[tuple[Kind, str], Location] = {**pack.locations}
        for object_id, content in loose.items():
            locations[Kind.OBJECT, object_id] = Loose(len(content))
        return cls(pack, loose, locations)

    @property
    def stored_bytes(self) -> int:
        """The size of the pack and of the large objects."""
        pack_bytes = len(self.pack.data) if self.pack.locations else 0
        return pack_bytes + sum(map(len, self.loose.values()))

    async def put(self, repository: RepoStores) -> None:
        """Make all of it durable. Nothing names it yet."""
        puts = [repository.objects.put_loose(i, content) for i, content in self.loose.items()]
        if self.pack.locations:
            puts.append(repository.objects.put_pack(self.pack))
        await gather_all(puts)


async def missing(
    repository: RepoStores, request: FilterObjects, *, uploader: str, now: float
) -> list[ObjectId]:
    """Those of the given objects that the client has to send, in the order asked. Raises
    InvalidName.

    `uploader` is the handle of a caller who may push: then an object in quarantine counts as
    present. Empty for others. The answer is advice: a change within the last moments may be missed.
    The push checks again.

    Budget: 7 AWS calls, chain of 2 (filter-objects, 500 ids).
    """
    asked = list(
        dict.fromkeys(names.check_id(object_id, "object") for object_id in request.object_ids)
    )
    if not repository.repo.exists:
        return asked
    known = _known(repository, asked)
    if uploader:
        uploaded = [quarantine.uploaded(repository, asked, by=uploader, now=now)]
    else:
        uploaded = []
    present = set[ObjectId]().union(*await gather_all([known, *uploaded]))
    return [object_id for object_id in asked if object_id not in present]


async def _known(repository: RepoStores, asked: Sequence[ObjectId]) -> set[ObjectId]:
    """Those of these objects that the repository holds."""
    # A client asks about every file that it has, and all but a few of them are where they were.
    if len(asked) > MANY_OBJECTS:
        at_head = await _at_head(repository)
    else:
        at_head = set[ObjectId]()
    return at_head | await repository.index.seemed_known([i for i in asked if i not in at_head])


async def _at_head(repository: RepoStores) -> set[ObjectId]:
    """Return the objects of the manifest of the default branch.

    They are stored as long as the branch exists. Empty if the manifest is unknown or large.
    """
    chosen = repository.repo.default_branch
    refs = await repository.refs.find([chosen])
    if not refs:
        # A client that pushes another branch only has that one as its default branch.
        page, _ = await repository.refs.page(FIRST_BRANCHES, "")
        refs = {ref.branch: ref for ref in page}
    ref = refs.get(default_branch(chosen, refs))
    if ref is None or ref.snapshot_at is None or ref.snapshot_at.length > MANIFEST_BYTES:
        return set()
    with suppress(Damaged, Unavailable):
        (record,) = (await repository.objects.read_packed([ref.snapshot_at])).values()
        # An opaque id may stand there without ever having been sent.
        return {object_id for object_id in manifest(record).values() if names.is_digest(object_id)}
    return set()


async def accept(repository: RepoStores, request: PushObjects, *, now: float) -> StoredObjects:
    """Store a batch of objects: bytes first, then the rows that name them.

    Returns `stored` and `skipped` (already here, or twice in the batch), whose sum is the number of
    sent objects. Raises HashMismatch, InvalidName, TooLarge or QuotaReached before anything is
    stored.

    Budget: 6 AWS calls, chain of 4 (push/objects, 50 objects of 4 KiB).
    Budget: 24 AWS calls, chain of 4 (push/objects, 400 objects).
    """
    sent = pushed_bundle.check_objects(request.objects)
    known = await repository.index.known(objects=sent)
    new = {
        object_id: content for object_id, content in sent.items() if object_id not in known.objects
    }
    pushed_bundle.check_sizes(
        {object_id: len(content) for object_id, content in new.items()},
        repository.stores.settings.max_object_bytes,
    )
    if new:
        repository = repository.stores.of(
            await repos.create_if_absent(repository.stores, repository.repo, int(now))
        )
        upload_batch = UploadBatch.of(repository.stores.limits, new)
        owner = repository.repo.owner
        repository.stores.quotas.check(owner, upload_batch.stored_bytes)
        await upload_batch.put(repository)
        await gather_all(
            [
                repository.index.put_locations(upload_batch.locations),
                repository.stores.quotas.count(
                    owner, upload_batch.stored_bytes, len(new), int(now)
                ),
            ]
        )
    return {"stored": len(new), "skipped": len(request.objects) - len(new)}


async def presign(repository: RepoStores, request: Presign, *, now: float) -> Presigned:
    """`presigned`: upload URLs for objects whose id is a digest. `inline`: the others, to send with
    `push/objects`.

    As many URLs as fit in one reply. An object that is in neither list gets its URL from the next
    request, which the stock client makes in its next push. An upload stays in quarantine until a
    push names it and its digest is true. Raises TooLarge for a size that no push would accept,
    QuotaReached for sizes that the owner may not store, and CostLimited.

    Budget: 3 AWS calls, chain of 2 (presign, 1 object).
    """
    asked = list(
        dict.fromkeys(names.check_id(object_id, "object") for object_id in request.object_ids)
    )
    sizes = {
        object_id: request.sizes[object_id] for object_id in asked if object_id in request.sizes
    }
    pushed_bundle.check_sizes(sizes, repository.stores.settings.max_object_bytes)
    repository.stores.quotas.check(repository.repo.owner, sum(sizes.values()))
    provable = [object_id for object_id in asked if names.is_digest(object_id)]
    inline = [object_id for object_id in asked if not names.is_digest(object_id)]
    if not provable:
        return {"presigned": {}, "inline": inline}
    wanted = repository.repo
    if not wanted.exists:
        wanted = replace(wanted, presigned_at=int(now))
    repo = await repos.create_if_absent(repository.stores, wanted, int(now))
    repository = repository.stores.of(repo)
    await repos.note_presign(repository, int(now))

    async def url_of(object_id: ObjectId) -> str:
        size = sizes.get(object_id)
        return await repository.quarantine.presign(object_id, request.ttl_seconds, size)

    first = {provable[0]: await url_of(provable[0])}
    # The URLs of one repository are equally long, but for the header that a size adds: all ids are
    # digests.
    room = codec.REPLY_BYTES - codec.sent_bytes(inline)
    some = provable[1 : max(1, room // (codec.sent_bytes(first) + SIGNED_HEADER_BYTES))]
    await reserve_uploads(sizes.get(object_id) for object_id in (provable[0], *some))
    urls = await gather_all(map(url_of, some))
    return {"presigned": first | dict(zip(some, urls, strict=True)), "inline": inline}
