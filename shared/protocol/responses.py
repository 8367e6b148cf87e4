"""Responses without a model, for the OpenAPI document."""

from typing import Any

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_BYTES: dict[str, Any] = {"application/octet-stream": _BINARY, "*/*": _BINARY}
"""The media type of a file follows from its name."""

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The client already has this content (If-None-Match)."}
}
"""The further response of a route that has an entity tag."""

FILES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The bytes.", "content": _BYTES},
    206: {"description": "The requested range.", "content": _BYTES},
    **NOT_MODIFIED,
    307: {
        "description": "The content is too large for this reply; read it from the URL in Location."
    },
}
"""The responses of a route that sends a file."""
