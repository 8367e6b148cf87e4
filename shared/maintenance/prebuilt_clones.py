"""The prebuilt clone of a repository: the reply to a clone, prepared in S3.

A clone of a popular repository then costs one query and few reads. The object in S3 has the SHA-256
of its bytes as its name:

    commits, snapshots, objects   three runs of packed entries, as in the reply to a fetch; each run
                                  is a zstd frame
    ids                           {"snapshots": […], "objects": […]}: a fetch needs them if it sends
                                  newer entries as well

One row next to the refs points to it (`metadata/prebuilt_clones`). The row has a digest for every
8 MiB: a fetch sends only bytes that it compared. The operator runs this job from time to time,
since functions that read may not write. A new prebuilt clone costs less than two clones without it.

The content is right at any time: it is the result of a walk from its heads, and all of that is
immutable. A repository whose manifests contain objects that were never sent gets none, since these
objects may still come. If gc finds that a head is unreachable, it deletes the row before it
condemns anything.

A crash between bytes and row leaves bytes without a row. gc deletes these, and replaced prebuilt
clones, but not during the collection in which the row was written: a fetch may still read them.

A stalled run can never point to deleted data: the row is written in one transaction with a check
that gc has not advanced since the run began. docs/design/prebuilt-clones.md has the invariants.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain
from typing import Any

from shared import codec, codings, names, packs
from shared.actions import fetch_plan
from shared.actions.fetch import prebuilt_ids
from shared.actions.fetch_plan import Allowed
from shared.actions.prebuilt_prefix import check_range
from shared.codings import Coding, Expander
from shared.errors import Damaged, TooLarge, Unavailable
from shared.graph import walk
from shared.graph.dag import Difference
from shared.metadata.scans import JobState
from shared.metadata.table import ConditionFailed
from shared.model import CommitAddress, PrebuiltClone, Run
from shared.stores import RepoStores

RECORDS = (("commits", "commit_id"), ("snapshots", "snapshot_id"))
MAX_HEADS = 2000
"""The row contains their addresses. Every clone reads it, and DynamoDB limits it to 400 KB."""

TOO_LATE = "a gc, a rebuild or a repack has come further meanwhile; nothing is lost, run it again"


@dataclass(frozen=True, slots=True)
class Made:
    """The present prebuilt clone of a repository, and whether it is new; or why it has none."""

    prebuilt: PrebuiltClone | None
    is_new: bool = False
    why_not: str = ""


async def make(repository: RepoStores, clock: Callable[[], float]) -> Made:
    """Make a prebuilt clone of the present branches, or keep a valid one. Idempotent.

    Raises Unavailable if a gc advanced meanwhile.
    """
    since = await repository.scans.progress()
    try:
        return await _make(repository, clock, since)
    except Damaged:
        if since == await repository.scans.progress():
            raise
        raise Unavailable(TOO_LATE) from None  # gc deleted the data: it is not damaged


async def _make(repository: RepoStores, clock: Callable[[], float], since: JobState | None) -> Made:
    refs, present = await repository.refs.all_and_prebuilt_clone()
    if not refs:
        return Made(None, why_not="it has no branches")
    branches = {ref.head for ref in refs.values()}
    difference, heads = await _heads(repository, branches)
    # A clone is right without these, but its walk is longer.
    merged = tuple(sorted(branches - set(heads), key=_newest_first)[: MAX_HEADS - len(heads)])
    if len(heads) > MAX_HEADS:
        return Made(None, why_not=f"it has more than {MAX_HEADS} branches that are not merged")
    is_current = present is not None and present.is_compressed and set(present.heads) == set(heads)
    if present and is_current and not await wrong(repository, present):
        if present.merged != merged:
            present = replace(present, merged=merged)
            await _name(repository, present, since)
        return Made(present)
    try:
        fetched = await fetch_plan.plan(
            repository, {}, difference, Allowed(repository.stores.settings.max_reply_bytes)
        )
    except TooLarge:
        return Made(
            None, why_not="a clone of it is larger than an answer may be (PIERIA_MAX_REPLY_BYTES)"
        )
    if fetched.objects.absent:
        return Made(
            None,
            why_not=f"it names objects that nobody has sent, such as {min(fetched.objects.absent)}",
        )
    runs = [_Stored(count) for count in fetched.counts]
    async for number, piece in fetched.ordered_chunks():
        runs[number].add(piece)
    ids = codec.pack_record(
        {"snapshots": sorted(fetched.snapshots.ids), "objects": sorted(fetched.objects.locations)}
    )
    data = b"".join([*chain.from_iterable(run.end() for run in runs), ids])
    commits, snapshots, objects = (run.run for run in runs)
    stored_size = len(data) - len(ids)
    del runs
    name = sha256(data).hexdigest()
    ranges = packs.plan_prebuilt(name, stored_size, packs.RANGE_BYTES)
    view = memoryview(data)
    await repository.objects.put_prebuilt(name, data)
    prebuilt = PrebuiltClone(
        name=name,
        heads=tuple(sorted(heads, key=_newest_first)),
        merged=merged,
        commits=commits,
        snapshots=snapshots,
        objects=objects,
        range_size=packs.RANGE_BYTES,
        digests=tuple(sha256(view[span.start : span.stop]).digest() for span in ranges),
        ids_size=len(ids),
        ids_digest=sha256(ids).digest(),
        made_at=int(clock()),
    )
    await _name(repository, prebuilt, since)
    return Made(prebuilt, is_new=True)


class _Stored:
    """A run that is being compressed."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._size = 0
        self._compressor = codings.compressor(Coding.ZSTD, codings.STORED_ZSTD_LEVEL)
        self._pieces: list[bytes] = []

    def add(self, piece: bytes | memoryview) -> None:
        """Compress the next bytes."""
        self._size += len(piece)
        self._pieces.append(self._compressor.compress(piece))

    def end(self) -> list[bytes]:
        """The frame, in pieces. Nothing can be added after this."""
        self._pieces.append(self._compressor.flush())
        return self._pieces

    @property
    def run(self) -> Run:
        """The compressed bytes, after the end of the stream."""
        return Run(self._count, self._size, sum(map(len, self._pieces)))


async def _name(repository: RepoStores, prebuilt: PrebuiltClone, since: JobState | None) -> None:
    """Write the row, so that clones use it. Raises Unavailable if gc advanced."""
    try:
        await repository.prebuilt_clones.put(prebuilt, since)
    except ConditionFailed:
        raise Unavailable(TOO_LATE) from None


async def wrong(repository: RepoStores, prebuilt: PrebuiltClone) -> str:
    """The fault of a prebuilt clone; empty if it is valid.

    Its bytes must have their digests, and contain exactly the entries that its heads reach. Raises
    the errors of `fetch_plan.plan`.
    """
    try:
        value = await _read(repository, prebuilt)
        ids = await prebuilt_ids(repository, prebuilt)
    except Damaged:
        return "is gone from the bucket, or is not what it was made of"
    difference, heads = await _heads(repository, set(prebuilt.heads))
    fetched = await fetch_plan.plan(
        repository, {}, difference, Allowed(repository.stores.settings.max_reply_bytes)
    )
    commits, snapshots = ([one[key] for one in value[run]] for run, key in RECORDS)
    objects = {one["object_id"]: one["content"] for one in value["objects"]}
    if sorted(commits) != sorted(node.commit_id for node in difference.collected) or set(
        heads
    ) != set(prebuilt.heads):
        return "holds other commits than its heads lead to"
    if not sorted(snapshots) == sorted(fetched.snapshots.ids) == ids["snapshots"]:
        return "holds other snapshots than its heads lead to"
    if (
        not sorted(one["object_id"] for one in value["objects"])
        == sorted(fetched.objects.locations)
        == ids["objects"]
    ):
        return "holds other objects than its heads lead to"
    if any(
        names.is_digest(i) and sha256(content).hexdigest() != i for i, content in objects.items()
    ):
        return "holds an object whose bytes do not hash to its id"
    return ""


async def _read(repository: RepoStores, prebuilt: PrebuiltClone) -> dict[str, Any]:
    """The entries of a prebuilt clone, as a clone gets them. Raises Damaged."""
    pieces = []
    for span in packs.plan_prebuilt(prebuilt.name, prebuilt.stored_size, prebuilt.range_size):
        pieces.append(await repository.objects.read_prebuilt(prebuilt.name, span.start, span.stop))
        check_range(prebuilt, span, pieces[-1])
    data = b"".join(pieces)
    start = 0
    body = [codec.map_start(len(prebuilt.runs), {})]
    for name, run in zip(("commits", "snapshots", "objects"), prebuilt.runs, strict=True):
        stop = start + (run.stored_size or run.size)
        body.append(codec.list_start(name, run.count))
        body += (
            Expander(Coding.ZSTD).expand(data[start:stop])
            if run.stored_size
            else [data[start:stop]]
        )
        start = stop
    return codec.unpack_record(b"".join(body))


async def _heads(
    repository: RepoStores, addresses: set[CommitAddress]
) -> tuple[Difference, list[CommitAddress]]:
    """The commits that these addresses reach, and those addresses that no other one reaches."""
    difference = Difference(addresses, ())
    await walk.run(repository.commits, difference)
    parents_of_all = chain.from_iterable(node.parents for node in difference.collected)
    parents = {parent.commit_id for parent in parents_of_all}
    return difference, [address for address in addresses if address.commit_id not in parents]


def _newest_first(address: CommitAddress) -> tuple[int, str]:
    return -address.generation, address.commit_id
