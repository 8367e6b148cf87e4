"""Listens on the loopback address until Ctrl-C."""

import asyncio
import errno
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from infra.relay.address import Address, Token, Unable, proxy_of
from infra.relay.gateway import Gateway
from infra.relay.hub import Hub
from infra.relay.progress import Progress

HOST = "127.0.0.1"
HEALTH_SECONDS = 20.0
GRACE_SECONDS = 1.0
"""How long requests under way may take to end after Ctrl-C. The same push goes on later."""
LINGER_SECONDS = 30.0


def listening(port: int) -> socket.socket:
    """A socket on the loopback address. Raises Unable."""
    try:
        listener = socket.create_server((HOST, port), backlog=128)
    except OverflowError:
        raise Unable(f"{port} is not a port: choose one from 1024 to 65535 with --port") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Unable(
                f"port {port} is in use: stop what listens there, or choose another --port"
            ) from None
        raise Unable(
            f"cannot listen on port {port} ({error.strerror}): choose another --port"
        ) from None
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def port_of(listener: socket.socket) -> int:
    """The port of a socket."""
    return int(listener.getsockname()[1])


async def check_hub(address: Address) -> None:
    """Raises Unable if no hub answers at this address."""
    timeout = aiohttp.ClientTimeout(total=HEALTH_SECONDS)
    parts = urlsplit(address.url)
    proxy = proxy_of(parts.scheme, parts.hostname or "")
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{address.url}/health", allow_redirects=False, proxy=proxy) as reply,
        ):
            status = reply.status
            is_hub = status in (200, 503) and "status" in await reply.json(content_type=None)
    except aiohttp.ClientConnectorCertificateError:
        raise Unable(f"the certificate of {address.host} is not valid: check the URL") from None
    except (aiohttp.ClientError, TimeoutError) as error:
        if isinstance(error, TimeoutError):
            reason = type(error).__name__
        else:
            reason = str(error)
        raise Unable(
            f"the hub {address.url} cannot be reached ({reason}): check the URL and the network"
        ) from None
    except (ValueError, TypeError):
        is_hub = False
    if not is_hub:
        raise Unable(
            f"{address.url} is not a hub (GET /health: {status}): give the address of the hub,"
            " without a repository"
        )


@asynccontextmanager
async def served(
    address: Address, token: Token, listener: socket.socket, progress: Progress
) -> AsyncIterator[None]:
    """The relay runs while this lasts."""
    hub = Hub(address, token, progress)
    runner = web.AppRunner(
        Gateway(hub, port_of(listener)).app(),
        access_log=None,
        handler_cancellation=True,
        auto_decompress=False,
        shutdown_timeout=GRACE_SECONDS,
        lingering_time=LINGER_SECONDS,
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()
        await hub.close()


def stop_signals() -> asyncio.Event:
    """Is set by Ctrl-C or SIGTERM, from now on."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    return stopped
