"""The calls of a request as text: step, operation, units, and rows or keys."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from bench import units
from bench.lambdas import Served
from bench.meter import Call

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHARD = re.compile(r"#([OSC])[0-9a-f]$")


def lines(served: Served) -> Iterator[str]:
    """A line for the request, and a line for each call with its step in the longest chain of
    calls.
    """
    meter = served.meter
    yield (
        f"{served.function}: {served.status}, {served.received:,} bytes in, {served.sent:,} out,"
        f" {meter.calls} calls ({meter.longest_chain()}), {meter.milliseconds()} ms"
    )
    steps: dict[int, int] = {}
    for call in sorted(meter.log, key=lambda call: call.entered):
        done = [
            before for before in meter.log if before.left is not None and before.left < call.entered
        ]
        steps[call.entered] = 1 + max((steps[before.entered] for before in done), default=0)
        yield f"  {steps[call.entered]:>2} {call.operation:<15} {_took(call):<16} {_about(call)}"


def _took(call: Call) -> str:
    weight = call.weight
    if weight is None:
        return ""
    taken = {
        "RRU": weight.read_units,
        "WRU": weight.write_units,
        "PUT": weight.s3_puts,
        "GET": weight.s3_gets,
    }
    return " ".join(f"{number:g} {unit}" for unit, number in taken.items() if number) + (
        " LOST" if call.failed else ""
    )


def _about(call: Call) -> str:
    params = call.params
    if "Key" in params and isinstance(params["Key"], str):
        size = call.weight.s3_bytes_in + call.weight.s3_bytes_out if call.weight else 0
        return f"{_short(params['Key'])} {size:,} bytes {params.get('Range', '')}"
    if call.operation == "Query":
        values = params["ExpressionAttributeValues"].values()
        return (
            f"{' … '.join(_short(value['S']) for value in values)} limit {params.get('Limit', '–')}"
        )
    if call.operation == "BatchGetItem":
        keys = chain.from_iterable(asked["Keys"] for asked in params["RequestItems"].values())
        return ", ".join(f"{number} × {row}" for row, number in Counter(map(_row, keys)).items())
    written = units.written(call.operation, params)
    if written:
        rows = Counter(_row({"pk": {"S": pk}, "sk": {"S": sk}}) for _, pk, sk in written)
        return ", ".join(f"{number} × {row}" for row, number in rows.items())
    return _row(params["Key"]) if "Key" in params else ""


def _row(key: Mapping[str, Any]) -> str:
    pk = key["pk"]["S"]
    sk = key.get("sk", {"S": ""})["S"]
    kind = _SHARD.search(pk)
    if kind:
        return {"O": "object", "S": "snapshot", "C": "commit"}[kind[1]]
    return _short(f"{pk} / {sk}" if sk else pk)


def _short(text: str) -> str:
    return _DIGEST.sub(lambda found: f"{found[0][:6]}…", _UUID.sub("…", text))
