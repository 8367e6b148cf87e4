"""Requests to a hub: timeouts, repetitions, and errors.

A request is repeated only if that cannot execute it twice:

    no connection                                  every method
    429 with a Retry-After of up to a minute       every method
    502, 503, 504, a timeout, a broken connection  GET, PUT and DELETE
"""

import random
import ssl
import time
from collections.abc import Mapping
from typing import Any

import httpx

from .errors import Refused, UnexpectedReply, Unreachable, refused

IDEMPOTENT = ("GET", "PUT", "DELETE")
ATTEMPTS = 4
CONNECT_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60
"""A hub that asks to wait for longer is not asked again."""
TRANSIENT = (502, 503, 504)
TOO_MANY = 429
NOT_FOUND = 404
LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")

Query = Mapping[str, str | int | bool]


class Transport:
    """The connections to one hub. They stay open until `close`."""

    def __init__(self, url: str, token: str, timeout_seconds: float) -> None:
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds)),
            verify=_certificates(url),
            # No proxy of the environment for a hub on this machine.
            mounts=dict.fromkeys(LOOPBACK),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        """Send a request. Returns the decoded reply, None if it is empty. Raises HubError."""
        request = self._http.build_request(method, path, params=query, json=body)
        for attempt in range(ATTEMPTS):
            is_last = attempt == ATTEMPTS - 1
            try:
                return _decoded(self._http.send(request))
            except httpx.TransportError as problem:
                if is_last or not _may_repeat_after(problem, method):
                    raise Unreachable(_reason(problem, str(self._http.base_url))) from None
                pause_seconds = _pause_seconds(attempt)
            except Refused as refusal:
                if method == "DELETE" and attempt and refusal.status == NOT_FOUND:
                    # An earlier attempt deleted it, and its reply was lost.
                    return None
                wanted_seconds = _wanted_pause_seconds(refusal, method, attempt)
                if is_last or wanted_seconds is None:
                    raise
                pause_seconds = wanted_seconds
            time.sleep(pause_seconds)
        raise AssertionError("the last attempt returns or raises")


def _certificates(url: str) -> ssl.SSLContext | bool:
    """The certificates of the system, as other programs use them, not those of a package.

    Without TLS they are not needed: to read them takes 20 ms.
    """
    if url.startswith("http://"):
        return False
    return ssl.create_default_context()


def _may_repeat_after(problem: httpx.TransportError, method: str) -> bool:
    was_not_sent = isinstance(problem, httpx.ConnectError | httpx.ConnectTimeout)
    return was_not_sent or method in IDEMPOTENT


def _wanted_pause_seconds(refusal: Refused, method: str, attempt: int) -> float | None:
    """The pause before a repetition, or None if the request must not be repeated."""
    stated_seconds = refusal.retry_after_seconds
    if stated_seconds is not None and stated_seconds > LONGEST_PAUSE_SECONDS:
        return None
    if refusal.status == TOO_MANY:
        return stated_seconds
    if refusal.status in TRANSIENT and method in IDEMPOTENT:
        return stated_seconds or _pause_seconds(attempt)
    return None


def _pause_seconds(attempt: int) -> float:
    """A pause that doubles. The random part separates clients that failed at the same time."""
    longest = FIRST_PAUSE_SECONDS * 2**attempt
    return random.uniform(longest / 2, longest)  # noqa: S311 (it is no secret)


def _decoded(reply: httpx.Response) -> Any:
    """The document of a successful reply. Raises Refused or UnexpectedReply."""
    if reply.is_success and not reply.content:
        return None
    try:
        document = reply.json()
    except ValueError:
        document = None
    if reply.is_success and document is not None:
        return document
    if reply.is_error and isinstance(document, dict) and "message" in document:
        raise refused(reply.status_code, document, _retry_after_seconds(reply))
    raise UnexpectedReply(
        f"{reply.url.copy_with(query=None)} replied with status {reply.status_code} and not as a"
        " hub does: check the URL of the hub"
    )


def _retry_after_seconds(reply: httpx.Response) -> int | None:
    stated = reply.headers.get("Retry-After", "")
    return int(stated) if stated.isdecimal() else None


def _reason(problem: httpx.TransportError, url: str) -> str:
    if isinstance(problem, httpx.TimeoutException):
        return f"{url} does not answer in time: check the network, and try again"
    return f"cannot reach {url} ({problem}): check the URL and the network"
