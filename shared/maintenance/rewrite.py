"""Write packs again without some of their entries, for `expunge`.

The old packs stay until `expunge` deletes them. docs/design/expunge.md has the reasons.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from hashlib import sha256

from shared import packs
from shared.errors import Damaged
from shared.maintenance.lease import Clock, Lease
from shared.maintenance.pointers import all_pointers, repoint_branches, repoint_rows
from shared.metadata.scans import Pointer
from shared.model import Kind, ObjectId
from shared.objects.bucket import Stored
from shared.progress import OnProgress
from shared.stores import RepoStores

Item = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class Holding:
    """A pack that holds an item.

    `modified` is the time of its youngest version, in epoch seconds.
    """

    is_present: bool
    modified: float


async def packs_with(
    repository: RepoStores, items: Set[Item], on_progress: OnProgress
) -> dict[str, Holding]:
    """The packs that hold one of these items, in any version, by their names."""
    present = {one.key for one in await repository.objects.packs()}
    versions: dict[str, Stored] = {}
    async for name, one in repository.objects.pack_versions():
        if one.size and (name not in versions or versions[name].modified < one.modified):
            versions[name] = one
    found: dict[str, Holding] = {}
    for number, (name, one) in enumerate(sorted(versions.items()), 1):
        stored = Stored(name, "" if name in present else one.version, one.size, one.modified)
        try:
            index = await repository.objects.read_index(stored)
        except Damaged:
            continue  # no reader can read an entry of it, and fsck reports it
        if not items.isdisjoint(index):
            found[name] = Holding(name in present, one.modified)
        on_progress("packs read", number, len(versions))
    return found


async def pointers_into(repository: RepoStores, old: Set[str]) -> dict[str, list[Pointer]]:
    """The pointers into these packs, by pack. AWS calls: those of `all_pointers`."""
    found: dict[str, list[Pointer]] = {name: [] for name in old}
    async for row in all_pointers(repository, await repository.scans.lanes()):
        for pointer in row.pointers:
            if pointer.at.pack in found:
                found[pointer.at.pack].append(pointer)
    return found


async def without(
    lease: Lease,
    holding: Mapping[str, Holding],
    items: Set[Item],
    clock: Clock,
    on_progress: OnProgress,
) -> None:
    """Write each existing pack again, and point the rows of the remaining entries to the new
    packs.
    """
    pointers = await pointers_into(lease.repository, holding.keys())
    for number, (name, pack) in enumerate(sorted(holding.items()), 1):
        if pack.is_present:
            await _rewrite(lease, name, pointers[name], items, clock)
        on_progress("packs written again", number, len(holding))


async def _rewrite(
    lease: Lease, name: str, pointers: Iterable[Pointer], items: Set[Item], clock: Clock
) -> None:
    """Write one pack without these items, and point the rows of its other entries to it.

    The old pack stays.
    """
    data = await lease.repository.objects.read_pack(name)
    if sha256(data).hexdigest() != name:
        raise Damaged(f"pack {name}")
    index = packs.read_index(name, data)
    ordered = sorted(index.items(), key=lambda entry: entry[1])
    kept = [(item, at) for item, at in ordered if item not in items]
    if not kept:
        return
    pack = packs.build(
        (kind, item_id, data[at.offset : at.offset + at.length]) for (kind, item_id), at in kept
    )
    await lease.check()
    await lease.repository.objects.put_pack(pack)
    new = {at: pack.locations[item] for item, at in kept}
    moved = {pointer: new[pointer.at] for pointer in pointers if pointer.at in new}
    # Only the row of a branch has the location of a snapshot without its id.
    rows = {pointer: at for pointer, at in moved.items() if pointer.item_id}
    branches = {pointer: at for pointer, at in moved.items() if not pointer.item_id}
    async for _ in repoint_rows(lease, rows, clock):
        pass
    async for _ in repoint_branches(lease, branches):
        pass


async def is_loose_since(repository: RepoStores, object_ids: Set[ObjectId], since: float) -> bool:
    """Whether a version of one of these loose objects was written at this time or later."""
    found = False
    async for object_id, one in repository.objects.loose_versions():
        found = found or (object_id in object_ids and one.modified >= since)
    return found


async def versions(
    repository: RepoStores, old: Set[str], loose: Set[ObjectId], before: float
) -> list[Stored]:
    """Every version that was written before `before` of these packs and loose objects, and of
    replaced prebuilt clones.

    The result includes all uploads under the ids of the loose objects, and all staged request
    bodies, of any age: such a body may contain a removed object, and a client can stage it again.
    """
    dead = [
        one
        async for name, one in repository.objects.pack_versions()
        if name in old and one.modified < before
    ]
    dead += [
        one
        async for i, one in repository.objects.loose_versions()
        if i in loose and one.modified < before
    ]
    for object_id in sorted(loose):
        dead += await repository.quarantine.versions(object_id)
    dead += await repository.quarantine.body_versions()
    prebuilt = await repository.prebuilt_clones.get()
    async for name, one in repository.objects.prebuilt_versions():
        if (prebuilt is None or name != prebuilt.name) and one.modified < before:
            dead.append(one)
    return dead
