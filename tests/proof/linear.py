"""Whether the replies about one branch could be those of operations one after another (after Wing and
Gong, 1993).

Each operation takes effect at one moment between its beginning and its answer; one that was never
answered, at some moment after its beginning, or never.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LeadsTo = Callable[[str, str], bool]
"""Whether a branch at the first commit may go on to the second without force."""


@dataclass(eq=False)
class Op:
    """An operation on a branch: to `push` or `force` a head, `delete` it, `read` it.

    `outcome`: `done`; of a push `refused`, with the current head in `seen`; of a deletion `absent`;
    else unknown.
    """

    kind: str
    branch: str
    head: str | None
    began: int
    returned: float = math.inf
    outcome: str = "unknown"
    seen: str | None = None

    def after(self, value: str | None, leads_to: LeadsTo) -> tuple[bool, str | None]:
        """Whether this can happen to a branch that is there (None: absent), and where the branch is
        then.
        """
        match self.kind, self.outcome:
            case "read", _:
                return self.seen == value, value
            case "push", "refused":
                return (
                    value is not None
                    and value == self.seen
                    and not leads_to(value, self.head or ""),
                    value,
                )
            case "push", _:
                return value is None or leads_to(value, self.head or ""), self.head
            case "delete", "absent":
                return value is None, None
            case "delete", _:
                return True, None
        return True, self.head


def is_one_after_another(ops: Sequence[Op], leads_to: LeadsTo) -> bool:
    """Whether there is an order in which all of it is true, beginning with no branch."""
    ordered = sorted(ops, key=lambda op: op.began)
    dead_ends: set[tuple[frozenset[int], str | None]] = set()

    def possible(left: frozenset[int], value: str | None) -> bool:
        answered = [n for n in left if ordered[n].outcome != "unknown"]
        if not answered:
            return True
        if (left, value) in dead_ends:
            return False
        # No operation can come before one that ended before it began.
        until = min(ordered[n].returned for n in answered)
        for number in sorted(left):
            op = ordered[number]
            if op.began <= until:
                fits, then = op.after(value, leads_to)
                if fits and possible(left - {number}, then):
                    return True
        dead_ends.add((left, value))
        return False

    return possible(frozenset(range(len(ordered))), None)
