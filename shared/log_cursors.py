"""The cursors of a log, sealed for a caller who does not see all commits.

Such a caller must not be able to make a cursor, since the addresses in it are not checked. A cursor
expires, since a forced push may hide commits.
"""

from shared import cursors
from shared.http import Access
from shared.model import Sees

DAY_SECONDS = 86_400


async def sealed(access: Access, cursor: str | None) -> str | None:
    """The cursor of a log for this caller."""
    if cursor is None or access.sees is Sees.ALL:
        return cursor
    keys = await access.stores.keyring.signing(access.now)
    return cursors.seal(keys, _list_of(access, 0), cursor)


async def opened(access: Access, cursor: str) -> str:
    """The cursor inside a sealed one of today or yesterday. Raises Unprocessable otherwise."""
    if not cursor or access.sees is Sees.ALL:
        return cursor
    keys = await access.stores.keyring.signing(access.now)
    return cursors.unseal(keys, [_list_of(access, 0), _list_of(access, 1)], cursor)


def _list_of(access: Access, days_ago: int) -> str:
    """The name of this repository's log on a day."""
    return f"log {access.repo.repo_id} {int(access.now // DAY_SECONDS) - days_ago}"
