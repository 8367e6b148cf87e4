"""The HTTP server of the relay: who may ask, and which request goes where."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from infra.relay.downloads import Downloads
from infra.relay.hub import Ask, Hub, Reply, api_error_reply, forwarded
from infra.relay.peers import is_of_another_user
from infra.relay.spool import PIECE_BYTES, Body, Spool
from infra.relay.uploads import Uploads
from shared import codec
from shared.errors import ApiError, BadRequest, Forbidden, Unavailable

WIRE_ROUTE = re.compile(r"/([^/?]+/[^/?]+)/(push/objects|[a-z-]+)/?(\?.*)?")
REPEATABLE_ROUTES = frozenset(
    "refs fetch filter-objects negotiate presign push push/objects releases tags staging".split()
)
"""POSTs of the protocol: sending one again after a lost reply changes nothing."""
KEEP_ALIVE_SECONDS = 20.0
"""The stock client gives up after 60 s without a byte. `100 Continue` is a byte, and no reply."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
KEEPER = "keeper"
OWN_SITE = ("none", "same-origin")
"""The values of Sec-Fetch-Site of a page that the user opened, and of what that page loads from
here.
"""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Gateway:
    """Passes requests to the hub."""

    def __init__(self, hub: Hub, port: int) -> None:
        self._hub = hub
        self._uploads = Uploads(hub)
        self._downloads = Downloads(hub)
        self._hosts = {f"{host}:{port}" for host in ("127.0.0.1", "localhost")}

    def app(self) -> web.Application:
        """The application of the server."""
        app = web.Application()
        app.on_response_prepare.append(_response_begins)
        app.router.add_route("*", "/{path:.*}", self.answer)
        return app

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The reply to any request. A failure of the relay has the shape of the hub's refusals."""
        try:
            self._check_caller(request)
            async with _kept_alive(request):
                return await self._pass(request)
        except ApiError as error:
            return await _sent(request, api_error_reply(error))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            failure = Unavailable(
                f"the relay cannot use its temporary folder ({reason}): free some space"
            )
            return await _sent(request, api_error_reply(failure))

    def _check_caller(self, request: web.Request) -> None:
        """Raises Forbidden for web pages, which reach this port with names of their own, and for
        other users.
        """
        if request.headers.get("Host", "").lower() not in self._hosts:
            raise Forbidden(
                "the relay answers at 127.0.0.1 and localhost only: use the URL that it printed"
            )
        site = request.headers.get("Sec-Fetch-Site", "none")
        if "Origin" in request.headers or site not in OWN_SITE:
            raise Forbidden("the relay does not answer web pages: use the URL of the hub")
        if self._hub.has_token and _is_foreign(request):
            raise Forbidden("another user of this machine runs this relay: start one of your own")
        if not request.raw_path.startswith("/"):
            raise BadRequest("the relay is no proxy: send it a path")

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        route = WIRE_ROUTE.fullmatch(request.raw_path)
        name = route[2] if route else ""
        ask = Ask(
            request.method,
            request.raw_path,
            forwarded(request.headers),
            is_repeatable=request.method in ("GET", "HEAD", "OPTIONS") or name in REPEATABLE_ROUTES,
        )
        if request.method == "GET":
            return await self._streamed(request, ask)
        if route and request.method == "POST" and name in ("push", "push/objects"):
            return await _sent(request, await self._pushed(request, ask, name, f"push {route[1]}"))
        if route and request.method == "POST" and name == "fetch" and _is_plain_msgpack(request):
            return await _sent(request, await self._fetched(request, ask, f"/{route[1]}"))
        body = await _body(request)
        try:
            return await _sent(request, await self._hub.ask(ask.with_body(body)))
        finally:
            body.close()

    async def _pushed(self, request: web.Request, ask: Ask, name: str, title: str) -> Reply:
        if not _is_plain_msgpack(request):
            return await self._uploads.whole(ask, _pieces(request), title)
        if name == "push/objects":
            return await self._uploads.objects(ask, _pieces(request), f"{title}: objects")
        return await self._uploads.push(ask, _pieces(request), title)

    async def _fetched(self, request: web.Request, ask: Ask, repository: str) -> Reply:
        spool = Spool()
        try:
            async for piece in _pieces(request):
                spool.write(piece)
            return await self._downloads.fetch(ask, repository, spool)
        finally:
            spool.close()

    async def _streamed(self, request: web.Request, ask: Ask) -> web.StreamResponse:
        """A reply that is passed on as it arrives."""
        async with self._hub.stream(ask) as reply:
            response = web.StreamResponse(status=reply.status, headers=forwarded(reply.headers))
            if reply.content_length is not None:
                response.content_length = reply.content_length
            await response.prepare(request)
            async for piece in reply.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response


def _is_foreign(request: web.Request) -> bool:
    connection = request.get_extra_info("socket")
    return connection is not None and is_of_another_user(
        connection.getpeername(), connection.getsockname()
    )


def _is_plain_msgpack(request: web.Request) -> bool:
    is_msgpack = request.headers.get("Content-Type", "").startswith(codec.MSGPACK)
    return is_msgpack and "Content-Encoding" not in request.headers


async def _body(request: web.Request) -> Body:
    body = Body(None)
    async for piece in _pieces(request):
        body.write(piece)
    body.end()
    return body


async def _pieces(request: web.Request) -> AsyncIterator[bytes]:
    async for piece in request.content.iter_chunked(PIECE_BYTES):
        yield piece


async def _sent(request: web.Request, reply: Reply) -> web.StreamResponse:
    """Send a whole reply to the client."""
    response = web.StreamResponse(status=reply.status, headers=forwarded(reply.headers))
    is_empty = request.method == "HEAD" or reply.status in (204, 304)
    try:
        if not is_empty:
            response.content_length = reply.content.size
        await response.prepare(request)
        if not is_empty:
            for piece in reply.content.pieces():
                await response.write(piece)
        await response.write_eof()
        return response
    finally:
        reply.close()


@asynccontextmanager
async def _kept_alive(request: web.Request) -> AsyncIterator[None]:
    """Until the response begins, keep the client from giving up."""
    request[KEEPER] = asyncio.create_task(_keep_alive(request))
    try:
        yield
    finally:
        request[KEEPER].cancel()


async def _keep_alive(request: web.Request) -> None:
    while True:
        await asyncio.sleep(KEEP_ALIVE_SECONDS)
        if request.transport is None or request.transport.is_closing():
            return
        request.transport.write(CONTINUE)


async def _response_begins(request: web.Request, _: web.StreamResponse) -> None:
    if KEEPER in request:
        request[KEEPER].cancel()
