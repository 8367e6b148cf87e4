"""Entity tags: what a client has already is not sent again (RFC 9110, 8.8.3 and 13.1.2)."""

from hashlib import sha256


def tag_of(body: bytes | memoryview) -> str:
    """A strong entity tag over the bytes of a reply."""
    return f'"{sha256(body).hexdigest()}"'


def is_held(if_none_match: str, tag: str) -> bool:
    """Whether the client has the reply of this tag, by its `If-None-Match`."""
    listed = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return tag in listed or listed == ["*"]
