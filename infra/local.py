"""The app of a hub on one machine: it answers only to its own host names, and `/health` reports a
full disk.

A web page can make a browser believe that the page's own host name is 127.0.0.1 (DNS rebinding),
and then read the data of this hub. The browser still sends the page's name as `Host`, so every
other name is refused.
"""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from shared.errors import Forbidden, Unavailable
from shared.middleware import HEALTH, refusal

HTTP_PORT = 80
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


class Local:
    """An ASGI app in front of the hub's own.

    `stated_name` is the operator's `--host`. `trouble` returns why writes are refused, or an empty
    string.
    """

    def __init__(self, app: ASGIApp, stated_name: str, trouble: Callable[[], str]) -> None:
        self._app = app
        self._stated_name = stated_name.lower()
        self._trouble = trouble

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a wrong `Host`, or pass the request on."""
        app = self._app
        if scope["type"] == "http":
            host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").lower()
            address, port = scope["server"]
            if host not in self._hosts(address, port):
                app = refusal(
                    Forbidden(f"this hub is not called {host[:80]!r}: use http://127.0.0.1:{port}")
                )
            elif scope["path"] == HEALTH and await asyncio.to_thread(self._trouble):
                app = refusal(
                    Unavailable(
                        "the hub cannot write to its disk: reads work, pushes are refused;"
                        " free some disk space, then push again (the hub's own log has the cause)"
                    )
                )
        await app(scope, receive, send)

    def _hosts(self, address: str, port: int) -> set[str]:
        """The accepted values of `Host`.

        The address to which the client connected is one of them.
        """
        names = (*LOOPBACK_NAMES, address, self._stated_name)
        hosts = {f"{name}:{port}" for name in names}
        if port == HTTP_PORT:  # browsers omit the default port
            hosts.update(names)
        return hosts
