"""The outermost ASGI middleware of every app.

It checks that a request comes through the proxy, gives it an id, writes one log line for it, and
makes sure that it gets a reply. If `PIERIA_ORIGIN_SECRET` is set, a proxy in front of the hub sends
with each request

    X-Pieria-Origin    the secret; a request without it is refused, since clients must use the proxy
    X-Pieria-Viewer    the address of the client of the proxy; trusted only together with the secret
    X-Pieria-Host      the host that the client asked, likewise
"""

import hmac
import json
import logging
import time
import uuid
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import codec, log, meter, metrics, prices, settings
from shared.bodies import Body, InFlight
from shared.errors import ApiError, Forbidden, Internal, Unavailable
from shared.meter import Meter

DRAIN_BYTES = 1024 * 1024 * 1024
"""The most bytes of a refused body that are read and dropped.

The stock client sends its whole body before it reads the reply. If the hub replied earlier, the
client would report a broken connection instead of the reason.
"""

HEALTH = "/health"
"""This path needs no secret. Its reply only shows that the process is running."""
ORIGIN = b"x-pieria-origin"
VIEWER = b"x-pieria-viewer"
HOST = b"x-pieria-host"
IS_HEAD = "pieria.is_head"
"""Key of a request's scope: whether the client sent HEAD. The app gets GET instead."""
COUNTED = "pieria.counted"
"""Key of a request's scope: the headers with the caller's remaining allowance."""
HOLD = "pieria.hold"
"""Key of a request's scope: the function that counts the body bytes in memory (`Body.hold`)."""
CODE = "pieria.code"
"""Key of a request's scope: the code of the error that the reply has."""
ADDRESS_BYTES = 64
_NOT_FOR_CLIENTS = "this address is not for clients: use the hub's public address"
CLOSE = (b"connection", b"close")


class RequestMiddleware:
    """The outermost middleware of an app (see the module).

    It also reads the rest of a refused request's body before the reply is sent.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._in_flight = InFlight()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        # A copy, so that the scope of the server keeps the original method.
        scope = {
            **scope,
            IS_HEAD: method == "HEAD",
            "method": "GET" if method == "HEAD" else method,
        }
        body = Body(scope, receive, self._in_flight, settings.load().max_expanded_bytes)
        scope[HOLD] = body.hold
        try:
            await self._exchange(scope, body, send, method)
        finally:
            body.release()
            scope.pop(HOLD)  # a cycle of references would keep the scope in memory

    async def _exchange(self, scope: Scope, body: Body, send: Send, method: str) -> None:
        request_id = scope["request_id"] = _request_id(scope)
        started = time.perf_counter()
        metered = meter.begin()
        answer = _Answer(scope, body, send, metered)
        scope["failure"] = None
        try:
            if _is_admitted(scope):
                app = self._app
            else:
                app = refused(scope, Forbidden(_NOT_FOR_CLIENTS))
            await app(scope, answer.receive, answer.send)
        except Exception as error:
            scope["failure"] = (
                error  # the error handler of `create_app` has replied to it if that was possible
            )
        if not answer.status and scope["failure"]:
            await refused(scope, Internal(request_id))(scope, answer.receive, answer.send)
        if not answer.is_whole:
            await answer.settle()
        route = scope.get("route")
        milliseconds = round((time.perf_counter() - started) * 1000, 1)
        broken_off = {} if answer.is_whole else {"broken_off": True}
        measured = answer.measured(milliseconds) if settings.load().metrics else {}
        log.at(settings.load().log_level).log(
            _level(answer.status, scope["failure"]),
            "request",
            exc_info=scope["failure"],
            request_id=request_id,
            method=method,
            route=getattr(route, "path", None),
            status=answer.status,
            milliseconds=milliseconds,
            microdollars=round(metered.picodollars / 1e6, 2),
            **broken_off,
            **measured,
        )
        if scope["failure"] and not answer.is_whole:
            raise scope[
                "failure"
            ]  # the server has to close the connection: the reply is incomplete


def _is_admitted(scope: Scope) -> bool:
    """Whether the request came through the proxy, if there is one.

    Sets the client's address and host from it.
    """
    secret = settings.load().origin_secret
    if not secret or scope["path"] == HEALTH:
        return True
    headers = dict(scope["headers"])
    if not hmac.compare_digest(headers.get(ORIGIN, b""), secret.encode()):
        return False
    viewer = headers.get(VIEWER)
    if viewer:
        scope["client"] = viewer[:ADDRESS_BYTES].decode("latin-1"), 0
    host = headers.get(HOST)
    if host:
        scope["headers"] = [
            *((name, value) for name, value in scope["headers"] if name != b"host"),
            (b"host", host),
        ]
    return True


def _level(status: int, failure: Exception | None) -> int:
    """The log level: error for a bug or a damaged repository, warning for a temporary failure."""
    if failure is None:
        return logging.INFO
    if status == Unavailable.status:
        return logging.WARNING
    return logging.ERROR


class _Answer:
    """The reply to one request. It adds headers, counts bytes, and charges the request.

    The rest of the request body is read before the reply. A reply to HEAD has the headers of the
    same GET, and no body.
    """

    def __init__(self, scope: Scope, body: Body, send: Send, metered: Meter) -> None:
        self.status = 0
        self.is_whole = False
        self._metered = metered
        self._started = time.perf_counter()
        self._bytes_in = self._bytes_out = 0
        self._is_sized = False
        self._scope = scope
        self._body = body
        self._send = send

    async def receive(self) -> Message:
        message = await self._body.receive()
        self._bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message["headers"], *_added(self._scope, message)]
            self._bytes_in += await self._body.drop(DRAIN_BYTES)
            if self._body.is_late:
                headers.append(CLOSE)
            message["headers"] = headers
            length = [int(value) for name, value in headers if name == b"content-length"]
            self._is_sized = bool(length)
            self._bytes_out = 0 if self._scope[IS_HEAD] else sum(length)
            # Charged before the bytes are sent, so that many slow readers of long replies are
            # counted.
            await self.settle()
        elif message["type"] == "http.response.body":
            if self._scope[IS_HEAD]:
                message = {**message, "body": b""}
            self._bytes_out += 0 if self._is_sized else len(message.get("body", b""))
            if not message.get("more_body", False):
                # Before the end of the reply: after it, Lambda may freeze the process.
                await self.settle()
        await self._send(message)
        if message["type"] == "http.response.body":
            self.is_whole = not message.get("more_body", False)

    def measured(self, milliseconds: float) -> Mapping[str, Any]:
        """The metrics of the request, which has ended."""
        seen = metrics.Seen(
            path=getattr(self._scope.get("route"), "path", None),
            status=self.status,
            code=self._scope.get(CODE, "") if self.status >= 400 else "",
            milliseconds=milliseconds,
            bytes_in=self._bytes_in,
            bytes_out=self._bytes_out,
            aws_calls=self._metered.aws_calls,
            aws_milliseconds=self._metered.aws_seconds * 1000,
            aws_throttles=self._metered.aws_throttles,
        )
        ended_at = time.time()  # noqa: TID251 (of the line, as the clock of the log)
        return metrics.fields(seen, settings.load().counter_table, ended_at)

    async def settle(self) -> None:
        """Charge the cost of the request that is not charged yet."""
        self._metered.itself = prices.request(
            settings.load().memory_mb,
            time.perf_counter() - self._started,
            self._bytes_in,
            self._bytes_out,
        )
        await self._metered.settle()


def _added(scope: Scope, start: Message) -> Iterator[tuple[bytes, bytes]]:
    """The headers of every reply."""
    yield b"x-request-id", scope["request_id"].encode()
    for name, value in scope.get(COUNTED, {}).items():
        yield name.lower().encode(), value.encode()
    if _is_public(scope, start):
        yield b"access-control-allow-origin", b"*"
        yield b"access-control-expose-headers", b"*"


def _is_public(scope: Scope, start: Message) -> bool:
    """Whether web pages of other sites may read the reply, because it is public.

    A reply to a request without a token and without a session is public. A refusal is never marked
    as public, so that refusals look the same to every caller.
    """
    if scope["method"] != "GET" or start["status"] >= 400:
        return False
    if all(name not in (b"authorization", b"cookie") for name, _ in scope["headers"]):
        return True
    return any(
        name == b"cache-control" and value.startswith(b"public") for name, value in start["headers"]
    )


def refused(scope: MutableMapping[str, Any], error: ApiError) -> Response:
    """The reply for an error of this request, whose code is counted."""
    scope[CODE] = error.code
    return refusal(error)


def refusal(error: ApiError) -> Response:
    """The reply for an error. Always JSON, which the stock client prints as text."""
    content = json.dumps(
        {"message": error.message, "detail": error.message, "code": error.code}, ensure_ascii=False
    )
    return Response(content, status_code=error.status, headers=error.headers, media_type=codec.JSON)


def _request_id(scope: Scope) -> str:
    context = scope.get("aws.event", {}).get("requestContext", {})
    return str(context.get("requestId") or uuid.uuid4())
