"""Counts the clones that would need many AWS calls less with a prebuilt clone.

Each process counts in memory, and adds to the row of the day with every `TOGETHER`th costly clone
of a repository. So a repository that is cloned rarely causes no write, and one that is cloned often
one write for hundreds of calls. Upkeep reads the row.
"""

from contextlib import suppress

from shared.actions.fetch_response import FetchResponse
from shared.errors import Unavailable
from shared.metadata.expiring import DAY_SECONDS
from shared.model import Packed
from shared.stores import RepoStores

COSTLY_PACKS = 12
"""A fetch reads each pack twice, for manifests and for objects, so it takes more than 40 calls."""
TOGETHER = 4


async def note(repository: RepoStores, response: FetchResponse, now: float) -> None:
    """Count a clone if it is costly. `now`: epoch seconds.

    AWS calls: one UpdateItem for every `TOGETHER` costly clones of a repository. Never fails.
    """
    locations = response.objects.locations.values()
    packs = {at.pack for at in locations if isinstance(at, Packed)}
    if len(packs) < COSTLY_PACKS:
        return
    counts = repository.stores.costly_clones
    counts[repository.repo_id] += 1
    if counts[repository.repo_id] < TOGETHER:
        return
    clones = counts.pop(repository.repo_id)
    with suppress(Unavailable):  # an uncounted clone does no harm
        await repository.stores.counters.add_clones(
            repository.repo_id, clones, int(now) // DAY_SECONDS
        )
