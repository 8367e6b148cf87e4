"""Templates: every value is escaped, and made visible.

A value that is `Markup` is inserted as it is. Only these modules make such values, each from texts
that it has escaped itself: `markdown`, `highlight`, `changes`, `lanes`, `piano_roll`.
"""

import functools
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from shared import texts
from shared.web import links, times, visible

_FOLDER = Path(__file__).parent
STATIC = _FOLDER / "static"
_DIGITS = 12


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        finalize=_made_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters["exact"] = _exact
    made.globals.update(
        style_url=static_url("style.css"),
        icon_url=static_url("icon.svg"),
        owner_url=links.owner,
        number=visible.number,
        size=texts.size,
        time_of=times.of_text,
    )
    return made


def _made_visible(value: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible.visible(value)
    return value


def _exact(text: str) -> Markup:
    """A value that a form sends back: escaped, but otherwise as it is."""
    return escape(text)


def render(template: str, **values: Any) -> str:
    """Fill a template."""
    return _environment().get_template(template).render(values)


@functools.cache
def static_file(name: str) -> bytes:
    """The bytes of a static file. Raises OSError."""
    return (STATIC / name).read_bytes()


@functools.cache
def static_url(name: str) -> str:
    """The URL of a static file. It contains a hash of the content, so it can be cached for ever."""
    stem, _, extension = name.partition(".")
    return f"/static/{stem}-{sha256(static_file(name)).hexdigest()[:_DIGITS]}.{extension}"


@functools.cache
def edition() -> str:
    """A hash of all templates, static files and modules: a page is the same only with the same
    edition.
    """
    parts = sorted(
        path for path in _FOLDER.rglob("*") if path.suffix in (".html", ".css", ".svg", ".py")
    )
    return sha256(b"".join(path.read_bytes() for path in parts)).hexdigest()[:_DIGITS]
