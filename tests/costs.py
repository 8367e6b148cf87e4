"""The measured cost of a request: its AWS calls, and its longest chain of calls."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.meter import Meter
from infra import budgets
from tests.client import Answer

BUDGETS = budgets.all_stated()


@dataclass(frozen=True)
class Cost:
    """One measured request of an operation, and the operation's budget."""

    operation: str
    case: str
    calls: int
    chain: int
    by_operation: dict[str, int]

    @property
    def is_within_budget(self) -> bool:
        budget = BUDGETS[self.operation]
        return self.calls <= budget.calls and self.chain <= budget.chain

    def __str__(self) -> str:
        verdict = "ok  " if self.is_within_budget else "OVER"
        name = ", ".join(filter(None, (self.operation, self.case)))
        calls = ", ".join(
            f"{count} {call.partition('.')[2]}" for call, count in sorted(self.by_operation.items())
        )
        measured = f"{self.calls} ({self.chain})"
        budget = str(BUDGETS[self.operation])
        return f"{verdict} {name:<86}{measured:>10}{budget:>10}   {calls}"


def table(costs: Iterable[Cost]) -> str:
    """Measured costs and budgets, as the message of a failed assertion."""
    heading = f"     {'operation':<86}{'measured':>10}{'budget':>10}   calls"
    return "\n".join(["", heading, *map(str, costs)])


def measure(
    operation: str, request: Callable[[], Answer], case: str = "", status: int = 200
) -> Cost:
    """Send one request, which must return this status. Prints the cost for `pytest -rP`."""
    with Meter() as meter:
        answer = request()
    assert answer.status == status, answer.body[:400]
    cost = Cost(operation, case, meter.calls, meter.longest_chain(), dict(meter.by_operation()))
    print(cost)
    return cost
