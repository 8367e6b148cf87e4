"""The calls of a request, in the order in which they waited for each other, and what each was about."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from bench import units
from bench.lambdas import Served
from bench.meter import Call

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHARD = re.compile(r"#([OSC])[0-9a-f]$")


def lines(served: Served) -> Iterator[str]:
    """A request and its calls: at which step of the longest chain each was, what it took, what it was about."""
    meter = served.meter
    yield (
        f"{served.function}: {served.status}, {served.received:,} bytes in, {served.sent:,} out,"
        f" {meter.calls} calls ({meter.longest_chain()}), {meter.milliseconds()} ms"
    )
    steps: dict[int, int] = {}
    for call in sorted(meter.log, key=lambda call: call.entered):
        done = [before for before in meter.log if before.left is not None and before.left < call.entered]
        steps[call.entered] = 1 + max((steps[before.entered] for before in done), default=0)
        yield f"  {steps[call.entered]:>2} {call.operation:<15} {_took(call):<16} {_about(call)}"


def _took(call: Call) -> str:
    if (weight := call.weight) is None:
        return ""
    taken = {
        "RRU": weight.read_units,
        "WRU": weight.write_units,
        "PUT": weight.s3_puts,
        "GET": weight.s3_gets,
    }
    return " ".join(f"{number:g} {unit}" for unit, number in taken.items() if number) + (" LOST" if call.failed else "")


def _about(call: Call) -> str:
    params = call.params
    if "Key" in params and isinstance(params["Key"], str):
        size = call.weight.s3_bytes_in + call.weight.s3_bytes_out if call.weight else 0
        return f"{_short(params['Key'])} {size:,} bytes {params.get('Range', '')}"
    if call.operation == "Query":
        values = params["ExpressionAttributeValues"].values()
        return f"{' … '.join(_short(value['S']) for value in values)} limit {params.get('Limit', '–')}"
    if call.operation == "BatchGetItem":
        keys = [key for asked in params["RequestItems"].values() for key in asked["Keys"]]
        return ", ".join(f"{number} × {row}" for row, number in Counter(map(_row, keys)).items())
    if written := units.written(call.operation, params):
        rows = Counter(_row({"pk": {"S": pk}, "sk": {"S": sk}}) for _, pk, sk in written)
        return ", ".join(f"{number} × {row}" for row, number in rows.items())
    return _row(params["Key"]) if "Key" in params else ""


def _row(key: Mapping[str, Any]) -> str:
    pk, sk = key["pk"]["S"], key.get("sk", {"S": ""})["S"]
    if kind := _SHARD.search(pk):
        return {"O": "object", "S": "snapshot", "C": "commit"}[kind[1]]
    return _short(f"{pk} / {sk}" if sk else pk)


def _short(text: str) -> str:
    return _DIGEST.sub(lambda found: f"{found[0][:6]}…", _UUID.sub("…", text))
