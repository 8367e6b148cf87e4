"""The contents of several small objects."""

from collections.abc import Iterable

from shared import names
from shared.model import Loose, Packed
from shared.stores import RepoStores
from shared.tasks import gather_all


async def small(
    repository: RepoStores, object_ids: Iterable[str], each_bytes: int, total_bytes: int
) -> dict[str, bytes]:
    """The contents of those of these objects that are stored and have at most `each_bytes`.

    The first ones that fit into `total_bytes` are read: one look-up, and few reads of packs.
    """
    wanted = [object_id for object_id in dict.fromkeys(object_ids) if names.is_id(object_id)]
    known = await repository.index.known(objects=wanted, even_condemned=True)
    chosen = {}
    for object_id in wanted:
        at = known.objects.get(object_id)
        if at and at.length <= each_bytes and at.length <= total_bytes:
            chosen[object_id] = at
            total_bytes -= at.length
    packed = {at for at in chosen.values() if isinstance(at, Packed)}
    loose = [object_id for object_id, at in chosen.items() if isinstance(at, Loose)]
    entries = await repository.objects.read_packed(packed)
    parts = await gather_all(
        repository.objects.read_part(object_id, chosen[object_id], 0, chosen[object_id].length)
        for object_id in loose
    )
    read = {object_id: entries[at] for object_id, at in chosen.items() if isinstance(at, Packed)}
    return read | dict(zip(loose, parts, strict=True))
