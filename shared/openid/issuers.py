"""The documents and keys of issuers (OpenID Connect Discovery 1.0), cached in the process.

    seconds since the last read    keys for a token
    up to 3,600                    the cached ones; for an unknown key id, they are read again
    more, or never read            new ones; IssuerInvalid or Unavailable if the read fails

The keys of an issuer are read at most once a minute, so tokens with invented key ids cause no more
reads. A failed read is repeated after ten seconds at the earliest. Concurrent requests wait for the
same read. The cache has at most `ISSUERS` issuers.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import jwt
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import ApiError, IssuerInvalid, Unavailable, Unprocessable
from shared.openid.web import Web, host_of
from shared.settings import Settings

FRESH_SECONDS = 3600
UNKNOWN_KEY_SECONDS = 60
FAILED_SECONDS = 10
ISSUERS = 100
KEYS = 50
"""The most keys of an issuer that are used."""
KEY_ID_CHARACTERS = 256
RSA_BITS = range(2048, 8193)
DISCOVERY = "/.well-known/openid-configuration"

_PARTS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
"""The public parts of a key, by its type."""
_ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
ALGORITHMS = tuple(_ALGORITHMS.values())
"""The accepted algorithms. All have a public key, so a key can never be taken for a secret."""


class Document(BaseModel):
    """The fields of a discovery document that the hub uses. `issuer` is verified."""

    model_config = ConfigDict(frozen=True, strict=True)

    issuer: str
    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]
    authorization_response_iss_parameter_supported: bool = False


@dataclass(frozen=True, slots=True)
class Issuer:
    """The document of an issuer, and its keys by key id."""

    document: Document
    keys: Mapping[str, jwt.PyJWK]


@dataclass(slots=True)
class _Cached:
    """The last read of an issuer. Times are epoch seconds."""

    issuer: Issuer | None = None
    read_at: float = -math.inf
    tried_at: float = -math.inf
    failure: ApiError = field(default_factory=Unavailable)
    reading: asyncio.Task[None] | None = None


class Issuers:
    """The cache. It belongs to one event loop."""

    def __init__(self, web: Web) -> None:
        self.web = web
        self._cached: OrderedDict[str, _Cached] = OrderedDict()

    async def get(self, url: str, now: float, key_id: str | None = None) -> Issuer:
        """Return the issuer with this URL, fresh enough for a token with this key id.

        Raises IssuerInvalid or Unavailable.
        """
        cached = self._cached.setdefault(url, _Cached())
        self._cached.move_to_end(url)
        if len(self._cached) > ISSUERS:
            self._cached.popitem(last=False)
        if cached.reading or self._is_due(cached, now, key_id):
            if cached.reading is None:
                cached.tried_at = now
                cached.reading = asyncio.create_task(self._renew(url, cached, now))
            # A cancelled request does not cancel the read, because other requests may wait for it.
            await asyncio.wait([cached.reading])
        if cached.issuer is None or now - cached.read_at >= FRESH_SECONDS:
            raise cached.failure
        return cached.issuer

    @staticmethod
    def _is_due(cached: _Cached, now: float, key_id: str | None) -> bool:
        if cached.issuer is None or now - cached.read_at >= FRESH_SECONDS:
            return now - cached.tried_at >= FAILED_SECONDS
        is_unknown = key_id is not None and key_id not in cached.issuer.keys
        return is_unknown and now - cached.tried_at >= UNKNOWN_KEY_SECONDS

    async def _renew(self, url: str, cached: _Cached, now: float) -> None:
        try:
            cached.issuer = await self._read(url)
            cached.read_at = now
        except ApiError as failure:
            cached.failure = failure
        finally:
            cached.reading = None

    async def _read(self, url: str) -> Issuer:
        found = await self.web.get(url.rstrip("/") + DISCOVERY)
        try:
            document = Document.model_validate(found)
            for endpoint in (document.jwks_uri, document.authorization_endpoint):
                if endpoint:
                    self.web.check(endpoint)
        except (ValidationError, Unprocessable):
            raise IssuerInvalid(f"the discovery document of {host_of(url)} is not valid") from None
        if document.issuer != url:
            raise IssuerInvalid(
                f"the discovery document of {host_of(url)} has another issuer: use its exact URL"
            )
        return Issuer(document, _keys(await self.web.get(document.jwks_uri)))


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Issuers] = WeakKeyDictionary()


def of_loop(settings: Settings) -> Issuers:
    """The cache of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _by_loop.get(loop)
    if found is None or found.web.allows_local is not settings.local_issuers:
        found = _by_loop[loop] = Issuers(Web(allows_local=settings.local_issuers))
    return found


def _keys(found: Mapping[str, Any]) -> dict[str, jwt.PyJWK]:
    """The usable keys of a JSON Web Key Set. A key without an id has the id ``."""
    listed = found.get("keys")
    keys: dict[str, jwt.PyJWK] = {}
    for described in listed[:KEYS] if isinstance(listed, list) else []:
        key = _key(described) if isinstance(described, dict) else None
        key_id = described.get("kid", "") if key else None
        if key and isinstance(key_id, str) and len(key_id) <= KEY_ID_CHARACTERS:
            keys.setdefault(key_id, key)
    return keys


def _key(described: Mapping[str, Any]) -> jwt.PyJWK | None:
    """A public key for signatures, or None. Private parts are not read."""
    kind = described.get("kty")
    curve = described.get("crv")
    parts = _PARTS.get(kind) if isinstance(kind, str) else None
    if not isinstance(kind, str) or parts is None:
        return None
    algorithm = _ALGORITHMS.get((kind, curve if kind != "RSA" else None))
    is_for_signatures = described.get("use", "sig") == "sig"
    if algorithm is None or not is_for_signatures or described.get("alg", algorithm) != algorithm:
        return None
    try:
        public = {"kty": kind, **{name: described[name] for name in parts}}
        key = jwt.PyJWK(public, algorithm)
    except (jwt.PyJWTError, KeyError, TypeError, ValueError):
        return None
    if kind == "RSA" and key.key.key_size not in RSA_BITS:
        return None
    return key
