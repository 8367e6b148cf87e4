"""One HTTP request to an identity provider, by aiohttp."""

import socket
from collections.abc import Mapping

import aiohttp
from aiohttp.abc import ResolveResult

from shared.openid.web import REPLY_BYTES, is_public

TIMEOUT = aiohttp.ClientTimeout(total=6, connect=3)
"""API Gateway waits 30 seconds, and a sign-in makes up to four requests."""


async def exchanged(
    method: str,
    url: str,
    headers: Mapping[str, str],
    form: Mapping[str, str] | None,
    *,
    resolves_any: bool,
) -> tuple[int, bytes]:
    """Send a request. Returns the status and the body, which is cut after `REPLY_BYTES`.

    A redirect is not followed. Raises ConnectionError with a reason without headers or bodies.
    `resolves_any`: the host may have an address that is not public.
    """
    # The server must not compress: the limit of bytes is also one of memory.
    sent = {"Accept": "application/json", "Accept-Encoding": "identity", **headers}
    resolver = None if resolves_any else _PublicResolver()
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=TIMEOUT,
                auto_decompress=False,
            ) as session,
            session.request(method, url, data=form, headers=sent, allow_redirects=False) as reply,
        ):
            return reply.status, await _read(reply)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        # Not chained, because an error of the client may quote headers.
        raise ConnectionError(type(error).__name__) from None


class _PublicResolver(aiohttp.ThreadedResolver):
    """Finds the addresses of a name. Fails if one of them is not public."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        if not found or not all(is_public(result["host"]) for result in found):
            raise OSError("the name has an address that is not public")
        return found


async def _read(reply: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for piece in reply.content.iter_any():
        body += piece
        if len(body) > REPLY_BYTES:
            break
    return body
