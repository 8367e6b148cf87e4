"""POST fetch: everything that a client lacks, in one response.

A client without commits gets the prebuilt clone of the repository, if one exists, and everything
newer, as if it had the heads of the prebuilt clone. This is right if the request wants everything
in the prebuilt clone. Then each of its heads is a want, or a parent of a commit that the walk
collected, since no head is an ancestor of another. A prebuilt clone that cannot be read is ignored.
"""

from hashlib import sha256

from shared import codec, packs
from shared.actions import fetch_plan
from shared.actions.fetch_plan import Allowed, Base, ResolvedFetch
from shared.actions.fetch_response import FetchResponse
from shared.actions.prebuilt_prefix import VerifiedPrefix, check_range
from shared.errors import Damaged
from shared.graph import walk
from shared.graph.dag import Difference
from shared.model import PrebuiltClone, Sees, SnapshotId
from shared.protocol.fetch import Fetch
from shared.stores import RepoStores
from shared.tasks import gather_pair


async def fetch(
    repository: RepoStores, request: Fetch, sees: Sees, most_bytes: int | None = None
) -> FetchResponse:
    """The whole difference. Unknown haves are ignored.

    `most_bytes` is the limit of the response in msgpack; by default that of the settings. Raises
    CommitNotFound with the unknown wants, TooLarge before any content is read, and Damaged.

    Budget: 7 AWS calls, chain of 5 (fetch, 1-commit delta).
    Budget: 8 AWS calls, chain of 6 (fetch, whole chain of 5,000 commits).
    Budget: 30 AWS calls, chain of 6 (clone, 250 commits, 2,400 objects pushed in 6 chunks).
    """
    limit = most_bytes or repository.stores.settings.max_reply_bytes
    resolved = await fetch_plan.resolve(repository, request, sees)
    if resolved.prebuilt:
        try:
            response = await _on_prebuilt(repository, resolved, resolved.prebuilt, limit)
        except Damaged:
            response = None
        if response:
            return response
    difference = Difference(resolved.want, resolved.have, resolved.client_history)
    await walk.run(repository.commits, difference)
    allowed = Allowed(limit, request.bases)
    return await fetch_plan.plan(repository, resolved.heads, difference, allowed)


async def prebuilt_ids(repository: RepoStores, prebuilt: PrebuiltClone) -> dict[str, list[str]]:
    """The ids of the `snapshots` and `objects` of a prebuilt clone. Raises Damaged."""
    start = prebuilt.stored_size
    stop = start + prebuilt.ids_size
    data = await repository.objects.read_prebuilt(prebuilt.name, start, stop)
    if sha256(data).digest() != prebuilt.ids_digest:
        raise Damaged(f"bundle {prebuilt.name}")
    return codec.unpack_record(data)


async def _on_prebuilt(
    repository: RepoStores, resolved: ResolvedFetch, prebuilt: PrebuiltClone, most_bytes: int
) -> FetchResponse | None:
    """The response that begins with a prebuilt clone; None if the request does not want all of it.

    Raises Damaged and TooLarge.
    """
    difference = Difference(resolved.want, (*prebuilt.heads, *prebuilt.merged))
    await walk.run(repository.commits, difference)
    wanted = {address.commit_id for address in resolved.want}
    for node in difference.collected:
        wanted.update(parent.commit_id for parent in node.parents)
    if not wanted.issuperset(head.commit_id for head in prebuilt.heads):
        return None
    fetch_plan.check_size(prebuilt.size, most_bytes)
    base = await _base(repository, prebuilt, needs_ids=bool(difference.collected))
    return await fetch_plan.plan(repository, resolved.heads, difference, Allowed(most_bytes), base)


async def _base(repository: RepoStores, prebuilt: PrebuiltClone, *, needs_ids: bool) -> Base:
    """The verified beginning of a prebuilt clone, and its ids if needed. Raises Damaged."""
    spans = packs.plan_prebuilt(prebuilt.name, prebuilt.stored_size, prebuilt.range_size)
    reading = repository.objects.begin(spans)
    ids: dict[str, list[str]] = {"snapshots": [], "objects": []}
    if needs_ids:
        begun, ids = await gather_pair(reading, prebuilt_ids(repository, prebuilt))
    else:
        begun = await reading
    for span, data in zip(begun.window, begun.data, strict=True):
        check_range(prebuilt, span, data)
    objects = {object_id.encode() for object_id in ids["objects"]}
    return Base(VerifiedPrefix(prebuilt, begun), set(map(SnapshotId, ids["snapshots"])), objects)
