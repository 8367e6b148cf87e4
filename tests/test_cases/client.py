"""Requests with paths and queries of their own: endpoints that a name alone does not lead to."""

import json
from collections.abc import Mapping
from typing import Any

import msgpack

from bench.meter import Meter
from tests import builders
from tests.builders import ACCEPT, MSGPACK, Answer

JSON = "application/json"


def ask(
    function: str,
    method: str,
    path: str,
    message: Any = None,
    *,
    by: str | None = None,
    query: str = "",
    as_json: bool = False,
    headers: Mapping[str, str] | None = None,
    source_ip: str | None = None,
) -> Answer:
    """One request, by a user with a fresh token or without a token. The body is msgpack by default."""
    sent = {"accept": ACCEPT}
    if by:
        sent["authorization"] = f"Bearer {builders.token(by)}"
    body = b""
    if message is not None:
        sent["content-type"] = JSON if as_json else MSGPACK
        body = json.dumps(message).encode() if as_json else msgpack.packb(message)
    event = builders.event(
        method, path, body, sent | dict(headers or {}), query=query, source_ip=source_ip
    )
    return builders.invoke(function, event)


def assert_costs(meter: Meter, calls: int, chain: int) -> None:
    """The AWS calls of a request, and how many of them waited for one another."""
    assert meter.calls <= calls and meter.longest_chain() <= chain, meter.by_operation()
