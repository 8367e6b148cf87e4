"""What surrounds every app: a door for those who come through the proxy, an id for each request, one line in the
log, and an answer whatever happens.

Where `PIERIA_ORIGIN_SECRET` is set, a proxy stands in front and sends with each request

    X-Pieria-Origin    the secret: without it nobody gets in, as our own address is not for clients
    X-Pieria-Viewer    the address of whoever asked the proxy; believed beside the secret only
"""

import hmac
import json
import logging
import time
import uuid
from collections.abc import Iterator

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import codec, log, meter, prices, settings
from shared.bodies import Body, InFlight
from shared.errors import ApiError, Forbidden, Internal, Unavailable
from shared.meter import Meter

DRAIN_BYTES = 1024 * 1024 * 1024
"""How much of a refused body is read and dropped. The stock client writes its whole body before it reads:
an answer sent earlier reaches it as a broken connection, without the reason."""

HEALTH = "/health"
"""Open to whoever has no secret: it is asked whether the process listens, and tells nothing else."""
ORIGIN, VIEWER = b"x-pieria-origin", b"x-pieria-viewer"
IS_HEAD = "pieria.is_head"
"""Key of a request's scope: the client asked with HEAD. The app is asked with GET, and need not read a body."""
COUNTED = "pieria.counted"
"""Key of a request's scope: the headers that state the caller's remaining allowance."""
HOLD = "pieria.hold"
"""Key of a request's scope: a function that counts the bytes of the body that stay in memory (`Body.hold`)."""
ADDRESS_BYTES = 64
CLOSE = (b"connection", b"close")


class Edge:
    """The outermost layer: a door, an id for each request, one line in the log, and an answer whatever happens.

    It also reads what is left of a refused request's body before the answer is sent.
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
        # A copy: the server's own scope keeps the method that was sent.
        scope = {**scope, IS_HEAD: method == "HEAD", "method": "GET" if method == "HEAD" else method}
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
            app = self._app if _let_in(scope) else refusal(Forbidden("this address is not for clients: use the hub's"))
            await app(scope, answer.receive, answer.send)
        except Exception as error:
            scope["failure"] = error  # if it could be answered, it has been, by `create_app`'s handler of bugs
        if not answer.status and scope["failure"]:
            await refusal(Internal(request_id))(scope, answer.receive, answer.send)
        if not answer.is_whole:
            await answer.settle()
        route = scope.get("route")
        log.at(settings.load().log_level).log(
            _level(answer.status, scope["failure"]),
            "request",
            request_id=request_id,
            method=method,
            route=getattr(route, "path", None),
            status=answer.status,
            milliseconds=round((time.perf_counter() - started) * 1000, 1),
            microdollars=round(metered.picodollars / 1e6, 2),
            **({} if answer.is_whole else {"broken_off": True}),
            **({"exc_info": scope["failure"]} if scope["failure"] else {}),
        )
        if scope["failure"] and not answer.is_whole:
            raise scope["failure"]  # the server has to cut the connection: what was sent is not the answer


def _let_in(scope: Scope) -> bool:
    """Whether a request came through the proxy, if there is one. Then it is as if its viewer had come himself."""
    secret = settings.load().origin_secret
    if not secret or scope["path"] == HEALTH:
        return True
    headers = dict(scope["headers"])
    if not hmac.compare_digest(headers.get(ORIGIN, b""), secret.encode()):
        return False
    if viewer := headers.get(VIEWER):
        scope["client"] = viewer[:ADDRESS_BYTES].decode("latin-1"), 0
    return True


def _level(status: int, failure: Exception | None) -> int:
    """A bug or a damaged repository is an error; trouble that passes is a warning."""
    if failure is None:
        return logging.INFO
    return logging.WARNING if status == Unavailable.status else logging.ERROR


class _Answer:
    """One exchange: remembers how it went, adds the headers of every reply, and has the request charged.

    The rest of the request's body is read before the reply. A reply to HEAD has the headers of the same GET, and
    no body.
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
            # Before the bytes are sent: slow readers of long replies must not add up unseen.
            await self.settle()
        elif message["type"] == "http.response.body":
            if self._scope[IS_HEAD]:
                message = {**message, "body": b""}
            self._bytes_out += 0 if self._is_sized else len(message.get("body", b""))
            if not message.get("more_body", False):
                # Before the end of the reply: after it, Lambda may stop the process until the next request.
                await self.settle()
        await self._send(message)
        if message["type"] == "http.response.body":
            self.is_whole = not message.get("more_body", False)

    async def settle(self) -> None:
        """Charge what the request has cost and has not been charged for."""
        self._metered.itself = prices.request(
            settings.load().memory_mb, time.perf_counter() - self._started, self._bytes_in, self._bytes_out
        )
        await self._metered.settle()


def _added(scope: Scope, start: Message) -> Iterator[tuple[bytes, bytes]]:
    """The headers that every reply gets."""
    yield b"x-request-id", scope["request_id"].encode()
    for name, value in scope.get(COUNTED, {}).items():
        yield name.lower().encode(), value.encode()
    if _is_public(scope, start):
        yield b"access-control-allow-origin", b"*"
        yield b"access-control-expose-headers", b"*"


def _is_public(scope: Scope, start: Message) -> bool:
    """Whether pages of other sites may read the reply: what anybody may read. Browsers send no token by themselves.

    A refusal is no such reply, so all refusals of a kind are alike for every caller.
    """
    if scope["method"] != "GET" or start["status"] >= 400:
        return False
    if all(name != b"authorization" for name, _ in scope["headers"]):
        return True
    return any(name == b"cache-control" and value.startswith(b"public") for name, value in start["headers"])


def refusal(error: ApiError) -> Response:
    """The one body of every failure. Always JSON: the stock client prints it as text."""
    content = json.dumps({"message": error.message, "detail": error.message, "code": error.code}, ensure_ascii=False)
    return Response(content, status_code=error.status, headers=error.headers, media_type=codec.JSON)


def _request_id(scope: Scope) -> str:
    context = scope.get("aws.event", {}).get("requestContext", {})
    return str(context.get("requestId") or uuid.uuid4())
