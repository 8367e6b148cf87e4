"""The limit of the bytes that one owner stores, over all repositories of the owner.

Check: the row of the owner is read in the call that looks up the repository of a request that
uploads, with eventual consistency. A request that would exceed the limit is refused before it
writes. Requests that write no content, such as the deletion of a branch, are never refused.

Count: a container keeps the sizes that its requests stored in memory, and adds them to the row when
an owner has reached `QUANTUM_BYTES`. So a small push makes no extra write, and a large one makes
one.

So the limit can be exceeded by the requests that run when it is reached, and by `QUANTUM_BYTES` for
each container. Packs, large objects and accepted uploads count, commits and manifests in packs
included; rows do not. Deleted content counts until its bytes are deleted. The pending amount of a
container that ended is missing. `maintenance.usage` corrects the row from the bucket.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from shared import texts
from shared.errors import QuotaReached, Unavailable
from shared.metadata.expiring import Counters
from shared.model import Usage
from shared.settings import Settings

QUANTUM_BYTES = 1024 * 1024
WARNED_PERCENT = 80
KEPT_OWNERS = 1000
"""The most owners that a container keeps in memory."""


@dataclass(slots=True)
class Quotas:
    """The limit, and this container's state. Without a limit, storage is counted all the same."""

    settings: Settings
    counters: Counters
    known: OrderedDict[str, Usage] = field(default_factory=OrderedDict)
    """The rows as they were last read or written, by owner."""
    pending: dict[str, Usage] = field(default_factory=dict)
    """Amounts that are not added to a row yet."""

    @property
    def has_limit(self) -> bool:
        """Whether owners have a limit. Without one, the row is not read."""
        return self.settings.limit_bytes_owner > 0

    def learn(self, owner: str, usage: Usage) -> None:
        """Keep the row of an owner that was read."""
        self.known.pop(owner, None)
        self.known[owner] = usage
        while len(self.known) > KEPT_OWNERS:
            self.known.popitem(last=False)

    def usage(self, owner: str) -> Usage:
        """The usage of the owner, as far as this container knows it."""
        return self.known.get(owner, Usage()) + self.pending.get(owner, Usage())

    def limit_bytes(self, owner: str) -> int:
        """The limit of an owner; 0 for none."""
        own = self.known.get(owner, Usage()).limit_bytes
        if own is None or not self.has_limit:
            return self.settings.limit_bytes_owner
        return own

    def check(self, owner: str, new_bytes: int) -> None:
        """Raise QuotaReached if the owner may not store this much more."""
        limit = self.limit_bytes(owner)
        if limit and self.usage(owner).stored_bytes + new_bytes > limit:
            raise QuotaReached(owner, limit, new_bytes)

    def warning(self, owner: str) -> str:
        """A sentence about an owner who has used most of the limit, or an empty text."""
        limit = self.limit_bytes(owner)
        used = self.usage(owner).stored_bytes
        if not limit or 100 * used < WARNED_PERCENT * limit:
            return ""
        return f"{owner} stores {texts.size(used)} of {texts.size(limit)}"

    async def count(self, owner: str, stored_bytes: int, stored_objects: int, now: int) -> None:
        """Count stored content, and add it to the row if it is much. Never fails."""
        pending = self.pending.pop(owner, Usage()) + Usage(stored_bytes, stored_objects)
        # On one machine the counters are in memory.
        quantum_bytes = 1 if self.settings.data else QUANTUM_BYTES
        if pending.stored_bytes >= quantum_bytes or len(self.pending) >= KEPT_OWNERS:
            try:
                self.learn(owner, await self.counters.add_usage(owner, pending, now))
            except Unavailable:
                self.pending[owner] = pending
        else:
            self.pending[owner] = pending
