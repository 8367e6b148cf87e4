"""Serves the hub's own presigned URLs: uploads to the folder of objects, and downloads from it.

An upload is streamed to disk. It has at most the size that the URL allows, or `MOST_BYTES`.
"""

from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.engines import local
from shared.engines.files import FileBucket
from shared.engines.signed_urls import PATH, Grant, Refused, SignedUrls
from shared.errors import Unavailable
from shared.objects.bucket import NoSuchKey

MOST_BYTES = 1024 * 1024 * 1024
"""The largest upload of a URL without a size."""


class WrongSize(Exception):
    """The body is larger or smaller than the URL allows."""


class SignedObjects:
    """An ASGI app in front of the hub's own. It answers the paths below `PATH`."""

    def __init__(self, app: ASGIApp, bucket: FileBucket, urls: SignedUrls) -> None:
        self._app = app
        self._bucket = bucket
        self._urls = urls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for an object, or pass the request on."""
        if scope["type"] == "http":
            host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            local.address.set(f"http://{host}")
        if scope["type"] != "http" or not scope["path"].startswith(PATH):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        key = scope["path"].removeprefix(PATH)
        try:
            grant = self._urls.check(request.method, key, request.query_params)
            answer = await (
                self._take(request, grant) if grant.method == "PUT" else self._send(grant)
            )
        except Refused as refusal:
            answer = PlainTextResponse(f"{refusal}\n", 403)
        except NoSuchKey:
            answer = PlainTextResponse("there is no such object\n", 404)
        except Unavailable:
            answer = PlainTextResponse("the hub cannot write to its disk; try again\n", 503)
        await answer(scope, receive, send)

    async def _take(self, request: Request, grant: Grant) -> Response:
        try:
            await self._bucket.put_stream(grant.key, _bounded(request, grant.size))
        except WrongSize:
            return PlainTextResponse("the body has not the size that was announced\n", 403)
        except ClientDisconnect:
            return Response(status_code=400)
        return Response()

    async def _send(self, grant: Grant) -> Response:
        headers = {"content-disposition": grant.disposition, "x-content-type-options": "nosniff"}
        path = self._bucket.path_of(grant.key)
        return FileResponse(path, headers=headers, media_type=grant.media_type)


async def _bounded(request: Request, size: int | None) -> AsyncIterator[bytes]:
    """Yield the body. Raises WrongSize if it does not have this size, or exceeds `MOST_BYTES`."""
    most = MOST_BYTES if size is None else size
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > most:
            raise WrongSize()
        yield chunk
    if size is not None and received < size:
        raise WrongSize()
