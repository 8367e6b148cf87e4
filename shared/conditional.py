"""Entity tags and If-None-Match (RFC 9110, 8.8.3 and 13.1.2)."""

from hashlib import sha256


def tag_of(body: bytes | memoryview) -> str:
    """A strong entity tag over the bytes of a reply."""
    return f'"{sha256(body).hexdigest()}"'


def is_held(if_none_match: str, tag: str) -> bool:
    """Whether an `If-None-Match` header shows that the client has the reply with this tag."""
    listed = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return tag in listed or listed == ["*"]
