"""An identity provider of our own on 127.0.0.1, whose every reply a test can falsify.

It speaks OpenID Connect, and the part of GitHub's OAuth that the hub uses. Not a test module.
"""

import base64
import functools
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

NEEDS_PROVIDER = frozenset(
    "account-provider account-callback account-handle account-claim account-link exchange"
    " trusted_issuers-remove repo_settings-distrust".split()
)
"""The sample events that are refused without an identity provider."""

CLIENT_ID = "hub client"
CLIENT_SECRET = "a:secret of the hub & more"
ALGORITHMS = ("RS256", "ES256", "EdDSA")


def private_key(algorithm: str, name: str = "") -> Any:
    """A private key. The same for the same name, since it takes long to make one."""
    return _made_key(algorithm, name)


@functools.cache
def _made_key(algorithm: str, name: str) -> Any:
    if algorithm == "RS256":
        return rsa.generate_private_key(65537, 1024 if name == "short" else 2048)
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


def public_jwk(algorithm: str, key_id: str, name: str = "") -> dict[str, Any]:
    """The public key as a JSON Web Key."""
    public = private_key(algorithm, name).public_key()
    described = get_default_algorithms()[algorithm].to_jwk(public, as_dict=True)
    return {**described, "kid": key_id, "alg": algorithm, "use": "sig"}


@dataclass
class Issuer:
    """The provider. A test changes its attributes to falsify its replies."""

    url: str = ""
    keys: list[dict[str, Any]] = field(
        default_factory=lambda: [public_jwk(algorithm, algorithm) for algorithm in ALGORITHMS]
    )
    document: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    """Claims of ID tokens that replace the true ones. None: the claim is absent."""
    algorithm: str = "RS256"
    user: dict[str, Any] = field(default_factory=lambda: {"id": 17, "login": "Ada"})
    """The reply of GitHub's `GET /user`."""
    sign: Callable[[dict[str, Any]], str] | None = None
    """Replaces the signature of ID tokens."""
    requests: Counter[str] = field(default_factory=Counter)
    bodies: dict[str, bytes] = field(default_factory=dict)
    """Replies by path that replace the true ones."""
    status: int = 200
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def token(self, **claims: Any) -> str:
        """A signed ID token with these claims. None: the claim is absent."""
        now = int(time.time())
        whole = {"iss": self.url, "sub": "user-1", "aud": CLIENT_ID, "iat": now, "exp": now + 300}
        whole |= {**claims, **self.claims}
        present = {name: value for name, value in whole.items() if value is not None}
        if self.sign:
            return self.sign(present)
        key = private_key(self.algorithm)
        return jwt.encode(present, key, self.algorithm, headers={"kid": self.algorithm})

    def agree(self, url: str, **claims: Any) -> str:
        """The user signs in at this authorization URL, and agrees. Returns the callback URL."""
        assert url.startswith(self.url)
        query = dict(parse_qsl(urlsplit(url).query))
        assert query["response_type"] == "code" and query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = {**query, "claims": json.dumps(claims)}
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def reply(self, path: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Any:
        """The true reply to a request."""
        self.requests[path] += 1
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/jwks",
                **self.document,
            }
        if path == "/jwks":
            return {"keys": self.keys}
        if path == "/token":
            return self._tokens(form, headers)
        if path == "/login/oauth/access_token":
            begun = self._begun(form)
            is_known = (form["client_id"], form["client_secret"]) == (CLIENT_ID, CLIENT_SECRET)
            return {"access_token": "gho_x"} if begun and is_known else {"error": "bad"}
        if path == "/api/v3/user":
            assert headers["Authorization"] == "Bearer gho_x"
            return self.user
        return {"error": "not found"}

    def _tokens(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Any:
        pair = base64.b64decode(headers["Authorization"].partition(" ")[2]).decode()
        name, _, secret = pair.partition(":")
        begun = self._begun(form)
        if begun is None or (unquote_plus(name), unquote_plus(secret)) != (
            CLIENT_ID,
            CLIENT_SECRET,
        ):
            return {"error": "invalid_grant"}
        return {"id_token": self.token(nonce=begun["nonce"], **json.loads(begun["claims"]))}

    def _begun(self, form: Mapping[str, str]) -> dict[str, str] | None:
        begun = self.codes.pop(form["code"], None)
        digest = sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if begun is None or challenge != begun["code_challenge"]:
            return None
        return begun if form["redirect_uri"] == begun["redirect_uri"] else None


@contextmanager
def running() -> Iterator[Issuer]:
    """A provider that serves requests."""
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer({name: values[0] for name, values in parse_qs(body).items()})

        def _answer(self, form: Mapping[str, str]) -> None:
            value = issuer.reply(self.path, form, dict(self.headers))
            body = issuer.bodies.get(self.path, json.dumps(value).encode())
            self.send_response(issuer.status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", f"{issuer.url}/jwks")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
