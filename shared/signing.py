"""The keys of a hub, and the signatures that they make. The form of a key states its use.

    form of the text             kind      use
    ed25519:<base64url>          public    verifies tokens (EdDSA, RFC 8037)
    ed25519-private:<base64url>  private   signs tokens
    seal:<text>                  secret    signs and verifies cursors, and references to bodies
    any other text               secret    the same, and tokens (HS256)

Only the functions that issue tokens can read the private key. All functions can read the other
keys, so a function that is taken over cannot sign a token with a private key.

A hub with a public key signs no token with a secret any more. It accepts such a token from before
only if the token equals the record that was written when it was issued, see
`shared/metadata/tokens.py`: every function can read the secret, but cannot write the record.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Final, Literal

import jwt
from jwt.algorithms import Algorithm

Keys = Mapping[str, str]
"""Key id → key, oldest first. All verify; the last one signs."""

PUBLIC: Final = "ed25519:"
PRIVATE: Final = "ed25519-private:"
SEAL: Final = "seal:"
ED25519: Final = "EdDSA"
HMAC: Final = "HS256"
ED25519_KEY_BYTES: Final = 32


class _Ed25519(Algorithm):
    """EdDSA by libsodium, which is a fifth of the size of the library that PyJWT would use."""

    def prepare_key(self, key: Any) -> bytes:
        return key if isinstance(key, bytes) else _decoded(key)

    def sign(self, msg: bytes, key: bytes) -> bytes:
        from nacl import bindings

        _, secret_key = bindings.crypto_sign_seed_keypair(key)
        return bindings.crypto_sign(msg, secret_key)[: bindings.crypto_sign_BYTES]

    def verify(self, msg: bytes, key: bytes, sig: bytes) -> bool:
        # Late, because a request without a token needs no libsodium.
        from nacl import bindings
        from nacl.exceptions import CryptoError

        try:
            bindings.crypto_sign_open(sig + msg, key)
        except (CryptoError, ValueError):
            return False
        return len(sig) == bindings.crypto_sign_BYTES

    @staticmethod
    def to_jwk(key_obj: Any, *_: Any, **__: Any) -> Any:
        """A public key as a JSON Web Key (RFC 8037)."""
        return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": ED25519, "x": key_obj}

    @staticmethod
    def from_jwk(*_: Any, **__: Any) -> Any:
        # PyJWT requires this method. The hub stores its keys in the forms above.
        raise jwt.InvalidKeyError("the keys of this hub are not JSON Web Keys")


_signatures = jwt.PyJWS(algorithms=[HMAC])
_signatures.register_algorithm(ED25519, _Ed25519())


def sign(keys: Keys, claims: Mapping[str, Any]) -> str:
    """Return a JWT with these claims, signed with the last of the keys."""
    key_id, key = list(keys.items())[-1]
    payload = json.dumps(claims, separators=(",", ":")).encode()
    return _signatures.encode(payload, key, _algorithm(key), headers={"kid": key_id})


def verify(key: str, text: str) -> Any:
    """Return the claims of a JWT. The key decides the algorithm, not the header.

    Raises jwt.InvalidTokenError, and ValueError for a payload that is not JSON. The claims,
    including the expiry, are not verified.
    """
    return json.loads(_signatures.decode(text, key, algorithms=[_algorithm(key)]))


def key_id(text: str) -> str:
    """The key id in the header of a JWT; empty without one. Not verified."""
    try:
        named = jwt.get_unverified_header(text).get("kid")
    except jwt.InvalidTokenError:
        return ""
    return named if isinstance(named, str) else ""


def for_tokens(keys: Keys) -> Keys:
    """The keys that verify tokens."""
    return {name: key for name, key in keys.items() if not key.startswith((SEAL, PRIVATE))}


def for_seals(keys: Keys) -> Keys:
    """The keys of cursors and references: all secrets."""
    return {name: key for name, key in keys.items() if not key.startswith((PUBLIC, PRIVATE))}


def private_parameter(parameter: str) -> str:
    """The SSM parameter of the private key, which belongs to the parameter of the other keys."""
    return f"{parameter}-private"


def kind(key: str) -> Literal["Ed25519", "seal", "HS256"]:
    """The kind of a key, as the command line shows it."""
    if key.startswith((PUBLIC, PRIVATE)):
        return "Ed25519"
    return "seal" if key.startswith(SEAL) else "HS256"


def is_public(key: str) -> bool:
    """Whether the key is a public key."""
    return key.startswith(PUBLIC)


def has_public(keys: Keys) -> bool:
    """Whether one of the keys is a public key. Then no secret signs a token any more."""
    return any(is_public(key) for key in keys.values())


def new_pair() -> tuple[str, str]:
    """Make a private key and its public key."""
    from nacl import bindings

    public, secret_key = bindings.crypto_sign_keypair()
    seed = bindings.crypto_sign_ed25519_sk_to_seed(secret_key)
    return PRIVATE + _encoded(seed), PUBLIC + _encoded(public)


def check(key: str) -> str:
    """The key, if it is a public or private key of the right length, or a secret.

    Raises ValueError.
    """
    if key.startswith((PUBLIC, PRIVATE)):
        _decoded(key)
    return key


def key_set(keys: Keys) -> dict[str, list[dict[str, str]]]:
    """The public keys as a JSON Web Key Set (RFC 7517)."""
    public = {name: key.removeprefix(PUBLIC) for name, key in keys.items() if is_public(key)}
    return {"keys": [{"kid": name, **_Ed25519.to_jwk(x)} for name, x in public.items()]}


def _algorithm(key: str) -> str:
    return ED25519 if key.startswith((PUBLIC, PRIVATE)) else HMAC


def _encoded(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode().rstrip("=")


def _decoded(key: str) -> bytes:
    """The bytes of a public or private key. Raises ValueError."""
    _, _, text = key.partition(":")
    try:
        decoded = base64.b64decode(f"{text}=", altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None
    if len(decoded) != ED25519_KEY_BYTES:
        raise ValueError(f"not {ED25519_KEY_BYTES} bytes")
    return decoded
