"""The providers with which users sign in: authorization code with PKCE (RFC 9700).

    browser                hub                               provider
    ─ GET sign-in ───────> 303 with state, nonce, challenge
    ─────────────────────────────────────────────────────────> the user agrees
    <──────────────────────────────────────── 303 with code, state, iss
    ─ GET callback ──────> POST code, verifier, secret ──────> ID token (GitHub: access token)

`Attempt` is the state of one sign-in. A cookie of the browser has it, so the hub stores nothing,
and only the browser that began can finish.
"""

import hmac
import secrets
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol
from urllib.parse import quote_plus, urlencode

from shared.errors import IssuerInvalid, SignInRefused
from shared.model import Person
from shared.openid.id_tokens import InvalidIdToken, verified
from shared.openid.issuers import Issuers
from shared.openid.web import host_of
from shared.settings import Settings

OPENID = "openid"
GITHUB = "github"
GITHUB_API = "https://api.github.com"
LOGIN_CHARACTERS = 100
CODE_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sign-in. All values that the provider sees or returns are hashes of one secret."""

    secret: str

    @classmethod
    def new(cls) -> "Attempt":
        """An attempt with a random secret."""
        return cls(secrets.token_urlsafe(32))

    @property
    def state(self) -> str:
        """Binds the callback to the browser (RFC 6749, 10.12)."""
        return self._derived("state")

    @property
    def nonce(self) -> str:
        """Binds the ID token to the browser."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """The code verifier (RFC 7636)."""
        return self._derived("verifier")

    @property
    def challenge(self) -> str:
        """The code challenge of the method S256."""
        return _base64url(sha256(self.verifier.encode()).digest())

    def _derived(self, use: str) -> str:
        return _base64url(hmac.digest(self.secret.encode(), use.encode(), "sha256"))


@dataclass(frozen=True, slots=True)
class Callback:
    """The query of a callback. `issuer` is None if the provider did not send it (RFC 9207)."""

    code: str
    redirect_uri: str
    issuer: str | None


class Provider(Protocol):
    """A provider. `label` names it on the page."""

    name: str
    label: str

    async def authorization_url(self, attempt: Attempt, redirect_uri: str, now: float) -> str:
        """The URL at the provider where the sign-in begins. Raises IssuerInvalid, Unavailable."""

    async def person(self, attempt: Attempt, callback: Callback, secret: str, now: float) -> Person:
        """The user who signed in. `secret` is that of the hub at the provider.

        Raises SignInRefused, IssuerInvalid or Unavailable.
        """


def configured(settings: Settings, issuers: Issuers) -> dict[str, Provider]:
    """The providers of this hub by name."""
    found: list[Provider] = []
    if settings.openid_issuer:
        found.append(OpenId(settings.openid_issuer, settings.openid_client_id, issuers))
    if settings.github_client_id:
        found.append(GitHub(settings.github_url, settings.github_client_id, issuers))
    return {provider.name: provider for provider in found}


class OpenId:
    """An OpenID Connect provider."""

    name = OPENID

    def __init__(self, issuer: str, client_id: str, issuers: Issuers) -> None:
        self.label = host_of(issuer)
        self._issuer = issuer
        self._client_id = client_id
        self._issuers = issuers

    async def authorization_url(self, attempt: Attempt, redirect_uri: str, now: float) -> str:
        """See `Provider`."""
        document = (await self._issuers.get(self._issuer, now)).document
        if not document.authorization_endpoint or not document.token_endpoint:
            raise IssuerInvalid(f"{self.label} has no endpoint for users to sign in")
        query = {
            **_query(attempt, self._client_id, redirect_uri),
            "scope": "openid profile",
            "nonce": attempt.nonce,
        }
        return _with_query(document.authorization_endpoint, query)

    async def person(self, attempt: Attempt, callback: Callback, secret: str, now: float) -> Person:
        """See `Provider`."""
        document = (await self._issuers.get(self._issuer, now)).document
        must_be_named = document.authorization_response_iss_parameter_supported
        if callback.issuer != self._issuer and (must_be_named or callback.issuer is not None):
            raise _refused("another issuer answered")
        form = _code_form(attempt, callback)
        headers: dict[str, str] = {}
        methods = document.token_endpoint_auth_methods_supported
        if "client_secret_basic" in methods:
            pair = f"{quote_plus(self._client_id)}:{quote_plus(secret)}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        elif "client_secret_post" in methods:
            form |= {"client_id": self._client_id, "client_secret": secret}
        else:
            raise IssuerInvalid(f"{self.label} accepts no client secret")
        reply = await self._issuers.web.post(document.token_endpoint, form, headers)
        token = _text(reply, "id_token", self.label)
        try:
            claims = await verified(self._issuers, token, self._issuer, self._client_id, now)
        except InvalidIdToken as error:
            raise _refused(f"the ID token of {self.label} is not valid: {error}") from None
        if claims.get("azp", self._client_id) != self._client_id:
            raise _refused("the ID token was issued to another client")
        if not _is_equal(claims.get("nonce"), attempt.nonce):
            raise _refused("the ID token belongs to another sign-in")
        return Person(self._issuer, claims["sub"], _login(claims.get("preferred_username")))


class GitHub:
    """GitHub, or a GitHub Enterprise Server: OAuth 2.0 without ID tokens."""

    name = GITHUB

    def __init__(self, url: str, client_id: str, issuers: Issuers) -> None:
        self.label = "GitHub" if url == "https://github.com" else host_of(url)
        self._url = url
        self._client_id = client_id
        self._issuers = issuers

    async def authorization_url(self, attempt: Attempt, redirect_uri: str, now: float) -> str:
        """See `Provider`."""
        query = _query(attempt, self._client_id, redirect_uri)
        return _with_query(f"{self._url}/login/oauth/authorize", query)

    async def person(self, attempt: Attempt, callback: Callback, secret: str, now: float) -> Person:
        """See `Provider`."""
        if callback.issuer not in (None, self._url, f"{self._url}/login/oauth"):
            raise _refused("another issuer answered")
        web = self._issuers.web
        form = _code_form(attempt, callback)
        form |= {"client_id": self._client_id, "client_secret": secret}
        reply = await web.post(f"{self._url}/login/oauth/access_token", form, {})
        token = _text(reply, "access_token", self.label)
        api = GITHUB_API if self._url == "https://github.com" else f"{self._url}/api/v3"
        if not (token.isascii() and token.isprintable()):
            raise IssuerInvalid(f"the access token of {self.label} is malformed")
        user = await web.get(f"{api}/user", {"Authorization": f"Bearer {token}"})
        user_id = user.get("id")
        # A login can be given up, and another user can then take it. An id is never used again.
        if not isinstance(user_id, int) or isinstance(user_id, bool) or user_id <= 0:
            raise IssuerInvalid(f"{self.label} named no user")
        return Person(self._url, str(user_id), _login(user.get("login")))


def _query(attempt: Attempt, client_id: str, redirect_uri: str) -> dict[str, str]:
    return {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "state": attempt.state,
        "code_challenge": attempt.challenge,
        "code_challenge_method": "S256",
    }


def _code_form(attempt: Attempt, callback: Callback) -> dict[str, str]:
    return {
        "grant_type": "authorization_code",
        "code": callback.code,
        "redirect_uri": callback.redirect_uri,
        "code_verifier": attempt.verifier,
    }


def _with_query(url: str, query: Mapping[str, str]) -> str:
    separator = "&" if "?" in url else "?"
    return f"{url}{separator}{urlencode(query)}"


def _text(reply: Mapping[str, Any], name: str, label: str) -> str:
    """A token of the reply to a code. Raises SignInRefused if the provider refused the code."""
    value = reply.get(name)
    if not isinstance(value, str) or not value:
        raise _refused(f"{label} did not accept the code: it may be used already, or too old")
    return value


def _login(value: Any) -> str:
    return value[:LOGIN_CHARACTERS] if isinstance(value, str) else ""


def _refused(reason: str) -> SignInRefused:
    return SignInRefused(f"{reason}; you are not signed in, start again at /-/sign-in")


def _is_equal(given: Any, expected: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode(), expected.encode())


def _base64url(value: bytes) -> str:
    return urlsafe_b64encode(value).decode().rstrip("=")
