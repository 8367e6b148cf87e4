"""HTTP: requests in, replies out, and everything that is the same for every endpoint.

create_app      an ASGI app of some routers, with one JSON body for every failure
lambda_handler  that app as a Lambda function
may_read        who asks, for which repository, and may he: as a FastAPI dependency, before any body
may_write       is read
body, reply     values in and out, in the caller's format
"""

import asyncio
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from fastapi import APIRouter, FastAPI, Request
from mangum import Mangum
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import auth, codec, log, names, ratelimit, settings, wire
from shared.errors import (
    ApiError,
    Forbidden,
    Internal,
    MalformedBody,
    MethodNotAllowed,
    NotFound,
    RepoNotFound,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
)
from shared.model import Identity, Repo, Visibility
from shared.model import Scope as TokenScope
from shared.ratelimit import LimitClass
from shared.stores import Stores, stores
from shared.tasks import all_of

DRAIN_BYTES = 1024 * 1024 * 1024
"""How much of a refused body is read and dropped. The stock client writes its whole body before it reads:
an answer sent earlier reaches it as a broken connection, without the reason."""

ID_LIST_BYTES = 16 * 1024 * 1024
"""The most taken where only ids are sent: 100,000 haves are 6.6 MB."""

B = TypeVar("B", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Access:
    """A request that was let in: the repository it is about, who sent it, and when (epoch seconds)."""

    stores: Stores
    repo: Repo
    identity: Identity | None
    now: int

    @property
    def by(self) -> str:
        """The handle of who sent it; empty for anybody."""
        return self.identity.subject if self.identity else ""


def create_app(*routers: APIRouter) -> "Edge":
    """An app of these routes and no others: no documentation pages, no redirects (the client follows none)."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(ApiError, _answer_failure)
    app.add_exception_handler(HTTPException, _answer_routing_failure)
    app.add_exception_handler(Exception, _answer_bug)
    return Edge(app)


def lambda_handler(app: "Edge") -> Callable[[Any, Any], Any]:
    """The app as a Lambda function behind an HTTP API or a function URL."""
    _use_own_loop()
    adapter = Mangum(app, lifespan="off")

    def handler(event: Any, context: Any) -> Any:
        _use_own_loop()
        return adapter(event, context)

    return handler


def may_read(
    limit_class: LimitClass, *, token_needed: bool = False
) -> Callable[[Request, str, str], Coroutine[Any, Any, Access]]:
    """A dependency: the caller may read the repository, or is told that there is none."""

    async def access(request: Request, owner: str, slug: str) -> Access:
        return await _access(request, owner, slug, limit_class, token_needed=token_needed)

    return access


def may_write(limit_class: LimitClass) -> Callable[[Request, str, str], Coroutine[Any, Any, Access]]:
    """A dependency: the caller owns the repository and his token lets him write.

    Raises Forbidden for those who may only read it, RepoNotFound for everybody else.
    """

    async def access(request: Request, owner: str, slug: str) -> Access:
        granted = await _access(request, owner, slug, limit_class, token_needed=True)
        identity = granted.identity
        if identity is None or identity.subject != granted.repo.owner:
            raise Forbidden(f"only {granted.repo.owner} may write to this repository; push to one of your own")
        if identity.scope is not TokenScope.WRITE:
            raise Forbidden("this token may only read; log in with one of scope write")
        return granted

    return access


async def body(request: Request, shape: type[B], max_bytes: int = ID_LIST_BYTES) -> B:
    """The request's body in the shape it should have.

    Raises UnsupportedMedia, MalformedBody, TooLarge or Unprocessable.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("send the body uncompressed")
    value = codec.decode(await _read(request, max_bytes), request.headers.get("content-type", ""))
    if not isinstance(value, dict):
        raise MalformedBody(f"the body must be a map, not a {type(value).__name__}")
    return wire.parse(shape, value)


def reply(request: Request, value: dict[str, Any]) -> Response:
    """A reply in the caller's format."""
    return reply_encoded(
        request, lambda: codec.encode(value, as_msgpack=True), lambda: codec.encode(value, as_msgpack=False)
    )


def reply_encoded(request: Request, in_msgpack: Callable[[], bytes], in_json: Callable[[], bytes]) -> Response:
    """A reply whose body is made in whichever format the caller reads; without a word about it, in JSON."""
    if codec.accepts_msgpack(request.headers.get("accept", "")):
        return Response(in_msgpack(), media_type=codec.MSGPACK)
    return Response(in_json(), media_type=codec.JSON)


class Edge:
    """The outermost layer: an id for each request, one line in the log, and an answer whatever happens.

    It also reads what is left of a refused request's body before the answer is sent.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope["request_id"] = _request_id(scope)
        started = time.perf_counter()
        answer = _Answer(request_id, receive, send)
        scope["failure"] = None
        try:
            await self._app(scope, answer.receive, answer.send)
        except Exception as error:
            scope["failure"] = error  # answered already, by `_answer_bug`
        route = scope.get("route")
        log.at(settings.load().log_level).log(
            _level(answer.status, scope["failure"]),
            "request",
            request_id=request_id,
            method=scope["method"],
            route=getattr(route, "path", None),
            status=answer.status,
            milliseconds=round((time.perf_counter() - started) * 1000, 1),
            **({"exc_info": scope["failure"]} if scope["failure"] else {}),
        )


def _level(status: int, failure: Exception | None) -> int:
    """A bug or a damaged repository is an error; trouble that passes is a warning."""
    if failure is None:
        return logging.INFO
    return logging.WARNING if status == Unavailable.status else logging.ERROR


class _Answer:
    """One exchange: remembers the status, names the request, and drains its body before answering."""

    def __init__(self, request_id: str, receive: Receive, send: Send) -> None:
        self.status = 0
        self._request_id = request_id
        self._receive = receive
        self._send = send
        self._body_left = True

    async def receive(self) -> Message:
        message = await self._receive()
        self._body_left = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self._request_id.encode())]
            drained = 0
            while self._body_left and drained < DRAIN_BYTES:
                drained += len((await self.receive()).get("body", b""))
        await self._send(message)


async def _access(request: Request, owner: str, slug: str, limit_class: LimitClass, *, token_needed: bool) -> Access:
    now = time.time()
    opened = await stores()
    identity = auth.identify(opened.settings.signing_keys, request.headers.get("authorization"))
    if token_needed and identity is None:
        raise Unauthorized("this needs a token; log in and send it as Authorization: Bearer")
    allowance = ratelimit.limit(opened.settings, limit_class)
    steps: list[Coroutine[Any, Any, Any]] = [
        _look_up(opened, owner, slug),
        ratelimit.hit(opened.counters, allowance, _subject(request, identity), now),
    ]
    found: Repo | None = (await all_of(steps))[0]
    if found is None and opened.settings.push_to_create and identity and identity.subject == owner:
        found = Repo(owner, slug) if names.is_repo_name(slug) else None
    if found is None or found.deleted:
        raise RepoNotFound()
    if found.visibility is Visibility.PRIVATE and (identity is None or identity.subject != owner):
        raise RepoNotFound()
    return Access(opened, found, identity, int(now))


async def _look_up(opened: Stores, owner: str, slug: str) -> Repo | None:
    if not (names.is_repo_name(owner) and names.is_repo_name(slug)):
        return None
    return await opened.repos.get(owner, slug)


def _subject(request: Request, identity: Identity | None) -> str:
    if identity:
        return f"user:{identity.subject}"
    # API Gateway's own word for the address, through Mangum; behind uvicorn the peer of the socket.
    return f"address:{request.client.host if request.client else 'unknown'}"


async def _read(request: Request, max_bytes: int) -> bytes:
    too_large = TooLarge(f"the body is larger than {max_bytes} bytes, the most taken here; push less history at once")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise too_large
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > max_bytes:
            raise too_large
        pieces.append(piece)
    return b"".join(pieces)


async def _answer_failure(request: Request, error: Exception) -> Response:
    failure = cast(ApiError, error)  # the class it is registered for
    if failure.status >= 500:
        request.scope["failure"] = failure  # the log shall say what the answer must not
    return _failure(failure)


async def _answer_bug(request: Request, error: Exception) -> Response:
    return _failure(Internal(request.scope["request_id"]))


async def _answer_routing_failure(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        return _failure(MethodNotAllowed("this URL exists, but not with this method"))
    return _failure(NotFound("there is nothing at this URL; repositories are at /owner/name"))


def _failure(error: ApiError) -> Response:
    content = json.dumps({"message": error.message, "detail": error.message, "code": error.code}, ensure_ascii=False)
    return Response(content, status_code=error.status, headers=error.headers, media_type=codec.JSON)


def _request_id(scope: Scope) -> str:
    context = scope.get("aws.event", {}).get("requestContext", {})
    return str(context.get("requestId") or uuid.uuid4())


_thread = threading.local()


def _use_own_loop() -> None:
    """Give this thread one event loop for good: Mangum runs on whatever loop is current, and anything in
    the process that calls `asyncio.run` leaves none behind."""
    if not hasattr(_thread, "loop"):
        _thread.loop = asyncio.new_event_loop()
    asyncio.set_event_loop(_thread.loop)
