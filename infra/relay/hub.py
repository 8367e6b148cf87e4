"""Requests to the hub: with the token, repeated where that helps, and with the reply expanded."""

import asyncio
import errno
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from infra.relay.address import Address, Token, proxy_of
from infra.relay.progress import Progress
from infra.relay.spool import Body, Spool
from shared import codec, codings
from shared.errors import ApiError, MalformedBody, Unavailable

ATTEMPTS = 8
REPEATED_STATUSES = frozenset({429, 502, 503, 504})
LONGEST_WAIT_SECONDS = 75.0
"""A rate window of the hub is a minute. If a hub asks for more, the user gets the reason."""
FIRST_WAIT_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 20.0
CONNECT_SECONDS = 15.0
SILENCE_SECONDS = 120.0
"""The longest pause inside a reply. Every gateway of a hub gives up earlier."""
CONNECTIONS = 16
HUB = "the hub"

HOP_HEADERS = frozenset(
    "connection content-length host keep-alive proxy-authenticate proxy-authorization"
    " proxy-connection te trailer transfer-encoding upgrade expect".split()
)
"""Headers of one connection (RFC 9110, 7.6.1), and those that each request sets itself."""

Headers = CIMultiDict[str]


@dataclass(frozen=True)
class Ask:
    """A request to the hub. `path` begins with a slash and is sent as it is, with its query.

    `is_repeatable`: repeating it after a lost reply changes nothing. `expands`: the reply may be
    compressed.
    """

    method: str
    path: str
    headers: Headers
    body: Body | None = None
    is_repeatable: bool = True
    expands: bool = False

    def with_body(self, body: Body | None, **headers: str) -> "Ask":
        """The same request with another body and some more headers."""
        more = self.headers.copy()
        more.update({name.replace("_", "-"): value for name, value in headers.items()})
        return replace(self, body=body, headers=more)

    def expanding(self) -> "Ask":
        """The same request, whose reply may be compressed."""
        return replace(self, expands=True)


@dataclass
class Reply:
    """A whole reply. The content is not compressed."""

    status: int
    headers: Headers = field(default_factory=CIMultiDict)
    content: Spool = field(default_factory=Spool)

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    def value(self) -> dict[str, object]:
        """The msgpack map of a small reply. Raises Unavailable for another content."""
        try:
            value = codec.unpack_record(self.content.whole())
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise Unavailable(
                "the hub sent a reply that is not a msgpack map: check the URL of the hub"
            )
        return value

    def close(self) -> None:
        """Free the content."""
        self.content.close()


R = TypeVar("R", Reply, aiohttp.ClientResponse)


class _Lost(Exception):
    """The hub gave no reply. `was_sent`: it may have received the request."""

    def __init__(self, reason: str, *, was_sent: bool) -> None:
        super().__init__(reason)
        self.was_sent = was_sent


class Hub:
    """The one hub that the relay talks to.

    `takes_codings` turns False if the hub refuses a compressed body.
    """

    def __init__(self, address: Address, token: Token, progress: Progress) -> None:
        self.address = address
        self.progress = progress
        self.takes_codings = True
        self._token = token
        self._opened: aiohttp.ClientSession | None = None

    @property
    def has_token(self) -> bool:
        """Whether a token is added to requests without one."""
        return bool(self._token.read())

    async def close(self) -> None:
        """Close all connections."""
        if self._opened:
            await self._opened.close()

    async def ask(self, ask: Ask) -> Reply:
        """The whole reply. Refusals are replies, too.

        Raises Unavailable if the hub cannot be reached.
        """
        reply = await self._final(ask, self._once, HUB)
        if reply.status != 415 or not ask.body or not ask.body.coding:
            return reply
        # The hub may be older than its support of compressed bodies.
        reply.close()
        plain = ask.body.expanded()
        try:
            reply = await self._final(replace(ask, body=plain), self._once, HUB)
        finally:
            plain.close()
        self.takes_codings = reply.status == 415
        return reply

    @asynccontextmanager
    async def stream(self, ask: Ask) -> AsyncIterator[aiohttp.ClientResponse]:
        """A reply whose content is read as it arrives. It is repeated only before the content."""
        response = await self._final(ask, self._send, HUB)
        try:
            yield response
        finally:
            response.close()

    async def put(self, url: str, body: Body) -> int:
        """Upload a body to a presigned URL of the hub, without the token. Returns the status."""
        reply = await self._elsewhere(
            url, Ask("PUT", "", CIMultiDict({"Content-Length": str(body.size)}), body)
        )
        reply.close()
        return reply.status

    async def get(self, url: str) -> Reply:
        """The reply of the storage to which the hub redirects, without the token."""
        return await self._elsewhere(url, Ask("GET", "", CIMultiDict()))

    async def _elsewhere(self, url: str, ask: Ask) -> Reply:
        if urlsplit(url).scheme != "https" and not self.address.is_loopback:
            raise Unavailable(
                "the hub named a storage without https: the relay sends nothing there"
            )

        async def send(ask: Ask) -> Reply:
            return await self._whole(await self._send_to(URL(url, encoded=True), ask))

        return await self._final(ask, send, "the storage")

    async def _final(self, ask: Ask, send: Callable[[Ask], Awaitable[R]], receiver: str) -> R:
        """Send a request, and again as long as that helps.

        Returns the last reply. Raises Unavailable.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                reply = await send(ask)
            except _Lost as lost:
                await self._wait_after_loss(ask, lost, attempt)
                continue
            wait = _wait_seconds(reply.status, reply.headers, ask, attempt)
            if wait is None:
                return reply
            reply.close()
            await self._wait(wait, f"{receiver} answered {reply.status}")
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, ask: Ask) -> Reply:
        return await self._whole(await self._send(ask))

    async def _whole(self, response: aiohttp.ClientResponse) -> Reply:
        reply = Reply(response.status, CIMultiDict(response.headers))
        try:
            await _read(response, reply)
        except (aiohttp.ClientError, TimeoutError, MalformedBody) as error:
            reply.close()
            raise _Lost(f"the reply of {self.address.host} broke off", was_sent=True) from error
        except BaseException:
            reply.close()
            raise
        finally:
            response.close()
        return reply

    async def _send(self, ask: Ask) -> aiohttp.ClientResponse:
        headers = ask.headers.copy()
        if "Authorization" not in headers and (token := self._token.read()):
            headers["Authorization"] = f"Bearer {token}"
        if ask.expands:
            headers["Accept-Encoding"] = ", ".join(codings.Coding)
        if ask.body:
            headers["Content-Length"] = str(ask.body.size)
            if ask.body.coding:
                headers["Content-Encoding"] = ask.body.coding
        return await self._send_to(
            URL(self.address.url + ask.path, encoded=True), replace(ask, headers=headers)
        )

    async def _send_to(self, url: URL, ask: Ask) -> aiohttp.ClientResponse:
        data = ask.body.sent() if ask.body else None
        is_bodyless = not ask.body and ask.method in ("POST", "PUT", "PATCH")
        if is_bodyless:
            ask.headers["Content-Length"] = "0"
        try:
            return await self._session().request(
                ask.method,
                url,
                data=data,
                headers=ask.headers,
                proxy=proxy_of(url.scheme, url.host or ""),
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        except aiohttp.ClientConnectorError as error:
            raise _Lost(_reason(self.address, error), was_sent=False) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _Lost(f"the connection to {url.host} broke", was_sent=True) from error

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
                ),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._opened

    async def _wait_after_loss(self, ask: Ask, lost: _Lost, attempt: int) -> None:
        is_safe = ask.is_repeatable or not lost.was_sent
        if attempt == ATTEMPTS or not is_safe:
            raise Unavailable(
                f"{lost}: check the network, and send the same request again"
            ) from lost
        await self._wait(_backoff(attempt), str(lost))

    async def _wait(self, seconds: float, reason: str) -> None:
        self.progress.say(f"{reason}; trying again in {seconds:.0f} s")
        await asyncio.sleep(seconds)


def forwarded(headers: Mapping[str, str]) -> Headers:
    """The headers of a request or a reply that concern the other end."""
    named = headers.get("Connection", "").lower().split(",")
    dropped = HOP_HEADERS.union(name.strip() for name in named)
    return CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in dropped
    )


def error_code(reply: Reply) -> str:
    """The `code` of a refusal of the hub; empty for another body."""
    return str(_refusal(reply).get("code", ""))


def refusal_text(reply: Reply) -> str:
    """The `message` of a refusal of the hub."""
    return str(_refusal(reply).get("message", f"the hub answered {reply.status}"))


def _refusal(reply: Reply) -> dict[str, object]:
    try:
        refusal = json.loads(reply.content.whole())
    except ValueError:
        return {}
    return refusal if isinstance(refusal, dict) else {}


async def _read(response: aiohttp.ClientResponse, reply: Reply) -> None:
    """Read the content into a reply, expanded. Raises MalformedBody if it is damaged."""
    coding = codings.of_body(response.headers.get("Content-Encoding", ""))
    if coding is None:
        async for piece in response.content.iter_any():
            reply.content.write(piece)
        return
    expander = codings.Expander(coding)
    async for piece in response.content.iter_any():
        for expanded in expander.expand(piece):
            reply.content.write(expanded)
    expander.end()
    reply.headers.popall("Content-Encoding", None)


def _wait_seconds(status: int, headers: Mapping[str, str], ask: Ask, attempt: int) -> float | None:
    """How long to wait before the request is repeated; None: this reply is the answer."""
    is_refused_unread = status == 429
    if status not in REPEATED_STATUSES or attempt == ATTEMPTS:
        return None
    if not (ask.is_repeatable or is_refused_unread):
        return None
    asked = _retry_after(headers.get("Retry-After", ""))
    if asked is None:
        return _backoff(attempt)
    if asked <= LONGEST_WAIT_SECONDS:
        return asked + _jitter()
    return None


def _retry_after(header: str) -> float | None:
    """The seconds of a Retry-After header, which has a number or a date; None if it has neither."""
    if header.strip().isdecimal():
        return float(header)
    try:
        then = parsedate_to_datetime(header)
    except ValueError:
        return None
    now = datetime.now(then.tzinfo)
    return max(0.0, (then - now).total_seconds())


def _backoff(attempt: int) -> float:
    longest = min(LONGEST_BACKOFF_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** (attempt - 1))
    return longest * (0.5 + 0.5 * _jitter())


def _jitter() -> float:
    """A random number of seconds below one: clients that were refused at once come back one by
    one.
    """
    return secrets.randbelow(1000) / 1000


def _reason(address: Address, error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return f"the certificate of {address.host} is not valid"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"there is no host {address.host}"
    if error.os_error.errno == errno.ECONNREFUSED:
        return f"{address.host} refuses connections"
    return f"{address.host} cannot be reached"


def api_error_reply(error: ApiError) -> Reply:
    """The refusal of the relay itself, in the shape of the hub's."""
    body = {"message": error.message, "detail": error.message, "code": error.code}
    reply = Reply(error.status, CIMultiDict({"Content-Type": codec.JSON, **error.headers}))
    reply.content.write(json.dumps(body).encode())
    return reply
