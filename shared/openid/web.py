"""HTTP requests to identity providers.

An admin of any repository can name an issuer, and its document names further URLs. So a request
goes to a public address only, over https, follows no redirect, and has limits of time and size.
The address is checked when the connection opens, so a name cannot change its address in between.
"""

import ipaddress
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from shared.errors import IssuerInvalid, Unavailable, Unprocessable

REPLY_BYTES = 256 * 1024
URL_CHARACTERS = 500
LOCAL_HOSTS = ("localhost", "127.0.0.1")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Web:
    """Sends requests. With `allows_local`, http://localhost is accepted, too: for tests."""

    def __init__(self, *, allows_local: bool) -> None:
        self.allows_local = allows_local

    def check(self, url: str) -> str:
        """The URL. Raises Unprocessable unless a request to it is permitted."""
        if len(url) > URL_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
            raise Unprocessable(f"a URL has at most {URL_CHARACTERS} visible ASCII characters")
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            _ = parts.port  # raises ValueError for a malformed port
        except ValueError:
            raise Unprocessable("this is not a URL") from None
        if self.allows_local and parts.scheme == "http" and host in LOCAL_HOSTS:
            return url
        if parts.scheme != "https" or "." not in host or host.startswith("[") or _is_literal(host):
            raise Unprocessable(
                "the URL of an issuer begins with https:// and the public name of its host"
            )
        if parts.username is not None or parts.fragment or "\\" in url:
            raise Unprocessable("the URL of an issuer has no user name and no fragment")
        return url

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The JSON object at this URL. Raises IssuerInvalid or Unavailable."""
        status, found = await self._exchange("GET", url, headers or {}, None)
        if status != 200:
            raise IssuerInvalid(f"{host_of(url)} replied {status}, and 200 was expected")
        return found

    async def post(
        self, url: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> dict[str, Any]:
        """The JSON object that a form is answered with, also if it is refused.

        Raises IssuerInvalid or Unavailable.
        """
        _, found = await self._exchange("POST", url, headers, form)
        return found

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> tuple[int, dict[str, Any]]:
        try:
            self.check(url)
        except Unprocessable as error:
            raise IssuerInvalid(f"the provider names a URL that is not used: {error}") from None
        # Late, because most requests need no provider, and the import takes long.
        from shared.openid.connection import exchanged

        try:
            status, body = await exchanged(
                method, url, headers, form, resolves_any=self.allows_local
            )
        except ConnectionError as error:
            raise Unavailable(
                f"{host_of(url)} cannot be reached ({error}); try again in a minute"
            ) from None
        if len(body) > REPLY_BYTES:
            raise IssuerInvalid(f"the reply of {host_of(url)} has more than {REPLY_BYTES} bytes")
        return status, _parsed(url, body)


def host_of(url: str) -> str:
    """The host of a URL, for messages."""
    return urlsplit(url).netloc[:100]


def is_public(address: str) -> bool:
    """Whether a connection to this IP address is permitted."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            found = found.ipv4_mapped
        elif found.sixtofour or found.teredo or found in _NAT64:
            return False
    return found.is_global and not found.is_multicast


def _parsed(url: str, body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise IssuerInvalid(f"the reply of {host_of(url)} is not a JSON object")
    return value


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # Systems also read `127.1` and `0x7f.1` as addresses.
        return host.rpartition(".")[2][:1].isdecimal() or host.rpartition(".")[2].startswith("0x")
    return True
