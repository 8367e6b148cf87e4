"""Counts the clones that would need many AWS calls less with a prebuilt clone.

Each process counts in memory, and reports every `TOGETHER`th costly clone of a repository, which
is then added to the row of the day. So a repository that is cloned rarely causes no write, and one
that is cloned often one write for hundreds of calls. Upkeep reads the row.
"""

from shared.actions.fetch_response import FetchResponse
from shared.model import Packed
from shared.stores import RepoStores

COSTLY_PACKS = 12
"""A fetch reads each pack twice, for manifests and for objects, so it takes more than 40 calls."""
TOGETHER = 2


def count(repository: RepoStores, response: FetchResponse) -> int:
    """Count a clone if it is costly. Returns the number of costly clones to add to the row: 0, or
    `TOGETHER`. Makes no call.
    """
    locations = response.objects.locations.values()
    packs = {at.pack for at in locations if isinstance(at, Packed)}
    if len(packs) < COSTLY_PACKS:
        return 0
    counts = repository.stores.costly_clones
    counts[repository.repo_id] += 1
    return counts.pop(repository.repo_id) if counts[repository.repo_id] == TOGETHER else 0
