"""The hub's own presigned URLs: an HMAC of the method, the key and the conditions of use.

<hub>/-/objects/<key>?method=PUT&expires=1800000000&size=5&signature=<hex>
"""

import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

PATH = "/-/objects/"
_SIGNED = ("method", "expires", "size", "type", "disposition")


class Refused(Exception):
    """The URL is not valid, or not any more."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A valid URL. `size` is None if a body of every size is accepted."""

    key: str
    method: str
    size: int | None
    media_type: str
    disposition: str


@dataclass(frozen=True, slots=True)
class SignedUrls:
    """Makes and checks URLs. `base` returns the address at which the client reaches the hub."""

    secret: bytes
    base: Callable[[], str]

    def put(self, key: str, ttl_seconds: int, size: int | None) -> str:
        """Make a URL for an upload."""
        fields = {"method": "PUT", "expires": _expiry(ttl_seconds)}
        if size is not None:
            fields["size"] = str(size)
        return self._url(key, fields)

    def get(self, key: str, ttl_seconds: int, media_type: str, disposition: str) -> str:
        """Make a URL for a download."""
        fields = {"method": "GET", "expires": _expiry(ttl_seconds)}
        return self._url(key, {**fields, "type": media_type, "disposition": disposition})

    def check(self, method: str, key: str, query: Mapping[str, str]) -> Grant:
        """Return the rights of a URL. Raises Refused."""
        fields = {name: query[name] for name in _SIGNED if name in query}
        expected = self._signature(key, fields)
        if not hmac.compare_digest(expected.encode(), query.get("signature", "").encode()):
            raise Refused("the signature does not match")
        if method != fields["method"]:
            raise Refused("the URL is for another method")
        if time.time() >= int(fields["expires"]):
            raise Refused("the URL has expired")
        size = int(fields["size"]) if "size" in fields else None
        return Grant(key, method, size, fields.get("type", ""), fields.get("disposition", ""))

    def _url(self, key: str, fields: Mapping[str, str]) -> str:
        query = urlencode({**fields, "signature": self._signature(key, fields)})
        return f"{self.base()}{PATH}{quote(key)}?{query}"

    def _signature(self, key: str, fields: Mapping[str, str]) -> str:
        """The length of each part keeps parts from running into each other."""
        parts = [key, *(fields.get(name, "") for name in _SIGNED)]
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.digest(self.secret, text.encode(), "sha256").hex()


def _expiry(ttl_seconds: int) -> str:
    return str(int(time.time()) + ttl_seconds)
