"""The metrics of a request, as fields of its log line.

CloudWatch reads them from the line (embedded metric format), so they need no call. A metric costs
by the month for each combination of its dimensions, so the values of a dimension are few: the
routes of the protocol by name, all other routes by their group, and the codes of errors.
`docs/costs.md` has the price.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NAMESPACE = "pieria"
HUB = "CounterTable"
"""The dimension that names the hub: there may be several in one account."""

_REPO = "/{owner}/{slug}/"
WIRE = frozenset(
    "refs negotiate fetch fetch/history fetch/objects filter-objects objects/{object_id}"
    " raw/{ref_and_path:path} presign staging push/objects push releases releases/{tag:path} tags"
    " tags/{tag_id}".split()
)
"""The routes of the protocol in a repository, without the names of owner and slug."""
_FETCHES = ("fetch", "fetch/history", "fetch/objects")


@dataclass(frozen=True, slots=True)
class Seen:
    """A finished request. `path` is that of its route; `code` that of the error, if it failed."""

    path: str | None
    status: int
    code: str
    milliseconds: float
    bytes_in: int
    bytes_out: int
    aws_calls: int
    aws_milliseconds: float
    aws_throttles: int


@dataclass(slots=True)
class _Process:
    has_answered: bool = False


_process = _Process()


def note_wake_up() -> None:
    """The next request of this process does not wait for its start."""
    _process.has_answered = True


def group_of(path: str | None) -> str:
    """The value of the dimension `Route`."""
    if path is None:
        return "none"
    name = path.removeprefix(_REPO)
    if name in WIRE:
        return name.partition("/{")[0].partition("{")[0]
    if path.startswith(("/api/", "/openapi", "/.well-known/")):
        return "api"
    if path == "/o/{object_id}":
        return "objects"
    return "health" if path == "/health" else "pages"


def fields(seen: Seen, hub: str, now: float) -> Mapping[str, Any]:
    """The fields of the log line. `hub`: the name of the counter table; `now`: epoch seconds."""
    totals = _totals(seen)
    by_route = {"RouteRequests": "Count", "RouteMilliseconds": "Milliseconds"}
    values: dict[str, Any] = {
        HUB: hub,
        "Route": group_of(seen.path),
        **{name: value for name, (value, _) in totals.items()},
        "RouteRequests": 1,
        "RouteMilliseconds": seen.milliseconds,
    }
    directives = [
        _directive([HUB], {name: unit for name, (_, unit) in totals.items()}),
        _directive([HUB, "Route"], by_route),
    ]
    if seen.code:
        values |= {"Code": seen.code, "Refusals": 1}
        directives.append(_directive([HUB, "Code"], {"Refusals": "Count"}))
    return {**values, "_aws": {"Timestamp": int(now * 1000), "CloudWatchMetrics": directives}}


def _totals(seen: Seen) -> dict[str, tuple[float, str]]:
    """The metrics of all requests with their units. Events that did not happen are left out."""
    is_first = not _process.has_answered
    _process.has_answered = True
    is_done = seen.status < 400
    route = group_of(seen.path)
    events = {
        "ColdStarts": is_first,
        "Pushes": is_done and route == "push",
        "Fetches": is_done and route in _FETCHES,
        "Conflicts": seen.status == 409,
        "Failures": seen.status >= 500,
    }
    counts: dict[str, tuple[float, str]] = {
        "Requests": (1, "Count"),
        "RequestMilliseconds": (seen.milliseconds, "Milliseconds"),
        "BytesIn": (seen.bytes_in, "Bytes"),
        "BytesOut": (seen.bytes_out, "Bytes"),
        "AwsCalls": (seen.aws_calls, "Count"),
        "AwsMilliseconds": (round(seen.aws_milliseconds, 1), "Milliseconds"),
    }
    if seen.aws_throttles:
        counts["Throttles"] = (seen.aws_throttles, "Count")
    return counts | {name: (1, "Count") for name, happened in events.items() if happened}


def _directive(dimensions: list[str], units: Mapping[str, str]) -> dict[str, Any]:
    return {
        "Namespace": NAMESPACE,
        "Dimensions": [dimensions],
        "Metrics": [{"Name": name, "Unit": unit} for name, unit in units.items()],
    }
