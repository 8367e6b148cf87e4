"""Cost limits of a subject per minute, and of subjects, owners and the hub per day.

A cost is in picodollars, as `meter` counts it. A day is a UTC day. A request is charged to three
scopes:

    subject   the user of the token, or the address of a request without one; also within each
              minute, at most a tenth of the day's limit for each class of requests
    owner     the repositories of one owner; charged for the requests of other users only, so that a
              flood of strangers never locks an owner out
    hub       all requests

Check: the rows of the day are read in the call that looks up the repository, with eventual
consistency. Below eight tenths of its limit, a container reads the row of the hub at most every 10
s. The row of the minute is the reply of the request counter. A scope that is known to be over its
limit is refused without a call.

Settle: a container keeps amounts in memory and adds them to the rows when a scope has reached
`QUANTUM`. So small requests make no extra call, and a large one is settled with its reply. A
request that is refused here is not charged. The use of a presigned URL is settled before the URL is
issued; then the sum in the row decides.

A limit can be exceeded by the requests that are running when it is reached, and by `QUANTUM` for
each container. That of the hub can also be exceeded by the amount over two tenths of it that other
containers settle within 10 s.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared import log, meter, prices, ratelimit
from shared.errors import CostLimited, HubLimited, RateLimited, Unavailable
from shared.metadata.expiring import Counters
from shared.metadata.table import Beside
from shared.model import Scope, Usage
from shared.ratelimit import WINDOW_SECONDS, LimitClass
from shared.settings import Settings
from shared.tasks import gather_all, gather_pair

DAY_SECONDS = 24 * 3600
QUANTUM = 200_000_000
"""Picodollars: $0.0002, about seventy polls."""
HUB_SECONDS = 10
KEPT_SCOPES = 1_000
"""The most scopes that a container keeps in memory. Above it, the oldest ones are settled early."""
MINUTES_OF_A_DAY = 10
"""A subject can spend the limit of a day within this number of minutes, but not faster."""
ALARM_STEPS = 10
ALARM_FROM = 8
"""Each tenth of the hub's limit is reported, from eight tenths on."""


@dataclass(slots=True)
class Budget:
    """The limits and this container's state. A kind without a limit is not in `limits`."""

    settings: Settings
    counters: Counters
    limits: Mapping[str, int]
    pending: OrderedDict[Scope, int] = field(default_factory=OrderedDict)
    """Picodollars that are not added to a row yet."""
    over: OrderedDict[Scope, None] = field(default_factory=OrderedDict)
    hub_spent: tuple[Scope, int, float] | None = None
    """The hub's scope, its cost, and the time of that read (epoch seconds)."""

    @classmethod
    def of(cls, settings: Settings, counters: Counters) -> "Budget":
        """Make a budget with the limits of these settings."""
        dollars: dict[str, float] = {
            "subject": settings.limit_cost_subject,
            "owner": settings.limit_cost_owner,
            "hub": settings.limit_cost_hub,
        }
        limits = {kind: round(limit * prices.DOLLAR) for kind, limit in dollars.items() if limit}
        return cls(settings, counters, limits)

    def open(self, limit_class: LimitClass, subject: str, now: float) -> "Account":
        """Open an account for one request. Raises HubLimited or CostLimited for a known excess."""
        day = int(now) // DAY_SECONDS
        account = Account(
            self, limit_class, Scope("subject", subject, day), Scope("hub", "", day), now
        )
        for scope in (account.hub, account.subject):
            if scope in self.over:
                raise self.refusal(scope, now)
        return account

    def knows_hub(self, hub: Scope, now: float) -> bool:
        """Whether the cached row of the hub is recent.

        Near the limit every request reads the row.
        """
        limit = self.limits.get("hub")
        if self.hub_spent is None or limit is None:
            return False
        scope, spent, read_at = self.hub_spent
        is_near = ALARM_STEPS * spent >= ALARM_FROM * limit
        return scope == hub and not is_near and now < read_at + HUB_SECONDS

    def check(self, scope: Scope, spent: int, now: float) -> None:
        """Raise HubLimited or CostLimited if a scope with this cost is over its limit."""
        limit = self.limits.get(scope.kind)
        if limit is None or spent + self.pending.get(scope, 0) < limit:
            return
        if (
            scope.kind != "owner"
        ):  # that limit is only checked for callers who may see the repository
            _remember(self.over, scope)
        raise self.refusal(scope, now)

    def refusal(self, scope: Scope, now: float) -> CostLimited:
        """The error for a scope that is over its limit."""
        seconds = DAY_SECONDS - int(now) % DAY_SECONDS
        whose = {
            "subject": "your requests",
            "owner": f"the requests of others to {scope.name}'s repositories",
            "hub": "the requests of all users",
        }
        failure = HubLimited if scope.kind == "hub" else CostLimited
        return failure(
            whose[scope.kind],
            self.limits[scope.kind] / prices.DOLLAR,
            "today (UTC)",
            seconds,
            scope.kind,
        )

    def charge(self, scope: Scope, picodollars: int) -> None:
        """Add a cost to the pending amount."""
        self.pending[scope] = self.pending.pop(scope, 0) + picodollars

    def due(self, scopes: Iterable[Scope]) -> list[Scope]:
        """The scopes to settle now: those over `QUANTUM`, and the oldest of too many pending
        ones.
        """
        due = [scope for scope in scopes if self.pending.get(scope, 0) >= QUANTUM]
        excess = len(self.pending) - KEPT_SCOPES
        oldest = [scope for scope, _ in zip(self.pending, range(excess), strict=False)]
        return list(dict.fromkeys([*due, *oldest]))

    async def settle(self, scope: Scope, now: float) -> int:
        """Add the pending amount of a scope to its row. Returns the sum of the day.

        The amount stays pending if the row cannot be written; then 0 is returned.
        """
        amount = self.pending.pop(scope, 0)
        try:
            total = await self.counters.spend(
                scope, amount, expires_at=(scope.day + 2) * DAY_SECONDS
            )
        except Unavailable:
            self.charge(scope, amount)
            return 0
        if scope.kind == "hub":
            self.hub_spent = scope, total, now
            self._report(total - amount, total, now)
        return total

    def _report(self, before: int, after: int, now: float) -> None:
        """Log a metric when the hub's cost passes a tenth of its limit, from eight tenths on.

        CloudWatch reads it from the log line (embedded metric format), so it needs no call. The
        alarm is in the template.
        """
        limit = self.limits["hub"]
        step = ALARM_STEPS * after // limit
        if step < ALARM_FROM or step == ALARM_STEPS * before // limit:
            return
        metric: dict[str, Any] = {
            "Namespace": "pieria",
            "Dimensions": [["CounterTable"]],
            "Metrics": [{"Name": "HubCost", "Unit": "Percent"}],
        }
        log.at(self.settings.log_level).error(
            "hub cost",
            _aws={"Timestamp": int(now * 1000), "CloudWatchMetrics": [metric]},
            CounterTable=self.settings.counter_table,
            HubCost=100 * after // limit,
        )


@dataclass(slots=True)
class Account:
    """The scopes that one request is charged to."""

    budget: Budget
    limit_class: LimitClass
    subject: Scope
    hub: Scope
    now: float
    owner: Scope | None = None
    is_upload: bool = False
    """Whether the request may store content, so that the usage of the owner is read, too."""
    beside: Beside | None = None
    left: dict[str, str] = field(default_factory=dict)
    """Headers of the reply with the subject's remaining allowance, once the request is counted."""

    def rows(self, owner: str = "") -> Beside | None:
        """The rows to read in the call that looks up a repository of this owner; None for no
        rows.
        """
        limits = self.budget.limits
        if "owner" in limits and owner and self.subject.name != f"user:{owner}":
            self.owner = Scope("owner", owner, self.hub.day)
        wanted = [scope for scope in (self.subject, self.owner) if scope and scope.kind in limits]
        if "hub" in limits and not self.budget.knows_hub(self.hub, self.now):
            wanted.append(self.hub)
        storing = owner if self.is_upload else ""
        if wanted or storing:
            self.beside = self.budget.counters.beside(wanted, storing)
        return self.beside

    async def read(self) -> None:
        """Read the rows by an own call, for a request without look-up of a repository or token."""
        beside = self.rows()
        if beside:
            beside.rows.extend(await beside.table.find(beside.keys, maybe_stale=True))

    async def hit(self) -> None:
        """Count the request. Raises RateLimited, or CostLimited if the minute cost too much."""
        budget = self.budget
        allowance = ratelimit.limit(budget.settings, self.limit_class)
        try:
            hit = await ratelimit.hit(budget.counters, allowance, self.subject.name, self.now)
        except RateLimited as refused:
            self.left.update(ratelimit.headers(refused.limit, 0, refused.retry_after_seconds))
            raise
        self.left.update(hit.left)
        limit = budget.limits.get("subject", 0) // MINUTES_OF_A_DAY
        if limit and hit.spent >= limit:
            seconds = WINDOW_SECONDS - int(self.now) % WINDOW_SECONDS
            raise CostLimited(
                "your requests", limit / prices.DOLLAR, "in this minute", seconds, "subject"
            )

    def admit(self) -> None:
        """Check the rows that were read, and charge the request from here on.

        Raises HubLimited or CostLimited.
        """
        budget = self.budget
        spent = self._spent()
        if self.beside and not budget.knows_hub(self.hub, self.now):
            known = (
                budget.hub_spent[1] if budget.hub_spent and budget.hub_spent[0] == self.hub else 0
            )
            # A stale or missing row must not replace a greater known sum: a sum never falls within
            # a day.
            budget.hub_spent = self.hub, max(known, spent[self.hub]), self.now
        if budget.hub_spent and budget.hub_spent[0] == self.hub:
            budget.check(self.hub, budget.hub_spent[1], self.now)
        budget.check(self.subject, spent.get(self.subject, 0), self.now)
        if budget.limits:
            meter.charge_to(self)

    def admit_to_repository(self) -> None:
        """Check the owner's limit, for a caller who may see the repository. Raises CostLimited."""
        if self.owner:
            self.budget.check(self.owner, self._spent().get(self.owner, 0), self.now)

    def usage(self, owner: str) -> Usage | None:
        """The usage of the owner, if it was read."""
        if self.beside and self.is_upload:
            return self.budget.counters.usage_in(self.beside, owner)
        return None

    async def charge(self, picodollars: int) -> None:
        """Charge a cost to all scopes, and settle those that are due. Never fails."""
        await self._charge(picodollars)

    async def reserve(self, picodollars: int) -> None:
        """Charge a cost in advance. Raises CostLimited or HubLimited if it exceeds a limit.

        The rows decide, because they contain the requests of all containers. The amount stays
        charged.
        """
        for scope, spent in (await self._charge(picodollars)).items():
            if spent > self.budget.limits.get(scope.kind, spent):
                raise self.budget.refusal(scope, self.now)

    async def _charge(self, picodollars: int) -> Mapping[Scope, int]:
        """Charge a cost to all scopes.

        Returns the sums of the day of the scopes that were settled.
        """
        budget = self.budget
        scopes = [
            scope
            for scope in (self.subject, self.owner, self.hub)
            if scope and scope.kind in budget.limits
        ]
        for scope in scopes:
            budget.charge(scope, picodollars)
        due = budget.due(scopes)
        if not due:
            return {}
        minute = budget.pending[self.subject] if self.subject in due else 0
        totals, _ = await gather_pair(
            gather_all([budget.settle(scope, self.now) for scope in due]),
            ratelimit.spend(budget.counters, self.limit_class, self.subject.name, self.now, minute),
        )
        return dict(zip(due, totals, strict=True))

    def _spent(self) -> Mapping[Scope, int]:
        scopes = [scope for scope in (self.subject, self.owner, self.hub) if scope]
        return self.budget.counters.spent(self.beside, scopes) if self.beside else {}


def _remember(scopes: OrderedDict[Scope, None], scope: Scope) -> None:
    scopes[scope] = None
    while len(scopes) > KEPT_SCOPES:
        scopes.popitem(last=False)
