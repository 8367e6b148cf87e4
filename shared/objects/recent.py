"""Packed entries that a process keeps in memory."""

from collections import OrderedDict

from shared.model import Packed


class Recent:
    """The latest packed entries by their place, up to a number of bytes.

    An entry of a pack never changes.
    """

    def __init__(self, most_bytes: int) -> None:
        self._entries: OrderedDict[tuple[str, Packed], bytes] = OrderedDict()
        self._left = most_bytes

    def get(self, repo_id: str, at: Packed) -> bytes | None:
        """The entry, if it is in memory. An empty one always is."""
        return self._entries.get((repo_id, at)) if at.length else b""

    def put(self, repo_id: str, at: Packed, data: bytes) -> None:
        """Keep an entry, and drop the oldest ones above the limit."""
        if (repo_id, at) in self._entries:
            return
        self._entries[repo_id, at] = data
        self._left -= len(data)
        while self._left < 0:
            _, oldest = self._entries.popitem(last=False)
            self._left += len(oldest)
