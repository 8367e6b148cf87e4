"""Markdown as HTML that is safe to show: parsed by markdown-it, then reduced to a list of allowed
tags.

HTML inside of the text passes through the same list. Relative links lead to the files of the same
version. An image of another host would show that host the readers of the page, so only its
alternative text is shown.
"""

import posixpath
import re
from collections.abc import Callable
from itertools import pairwise
from urllib.parse import quote, unquote, urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

from shared.web import highlight
from shared.web.links import Links
from shared.web.visible import visible

CHARACTERS = 100_000
"""A longer text is cut."""
NESTING = 20
ID_PREFIX = "doc-"
"""The ids of headings begin with it, so that they differ from those of the page."""

_TAGS = set(
    "a abbr b blockquote br code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i img ins kbd li"
    " ol p pre q s samp small span strong sub summary sup table tbody td th thead tr ul var".split()
)
_ATTRIBUTES = {
    "a": {"href", "title"},
    "img": {"src", "alt", "title", "width", "height"},
    "ol": {"start"},
    "td": {"align"},
    "th": {"align"},
    "code": {"class"},
    "span": {"class"},
    **{f"h{level}": {"id"} for level in range(1, 7)},
}
_CLASS = re.compile(r"(language-[\w+#.-]{1,30}|[a-z][a-z0-9]{0,2})")
"""The classes of highlighted code."""
_DIMENSION = re.compile(r"[0-9]{1,4}%?")
_IMAGE = re.compile(r"<img( [^<>]*)?>")
_ATTRIBUTE = re.compile(r' (src|alt)="([^"]*)"')
_ALIGNED = re.compile(r"text-align:(left|right|center)")
_NOT_IN_AN_ID = re.compile(r"[^\w]+")


def rendered(text: str, links: Links, ref: str, folder: str = "") -> Markup:
    """A Markdown text that is stored in a folder of a version, as HTML."""
    tokens = _parser().parse(visible(text[:CHARACTERS]))
    _name_headings(tokens)
    _align_cells(tokens)
    html = _parser().renderer.render(tokens, _parser().options, {})
    clean = nh3.clean(
        html,
        tags=_TAGS,
        clean_content_tags={"script", "style"},
        attributes=_ATTRIBUTES,
        attribute_filter=_filter(links, ref, folder),
        url_schemes={"http", "https", "mailto"},
        # A block of code may be wider than a phone. The keyboard scrolls only an element that can
        # have the focus.
        set_tag_attribute_values={"pre": {"tabindex": "0"}},
        link_rel="nofollow noopener noreferrer",
    )
    return Markup(_IMAGE.sub(_image, clean))  # noqa: S704 (sanitised above)


def _parser() -> MarkdownIt:
    global _made
    if _made is None:
        options = {"html": True, "maxNesting": NESTING, "highlight": _highlighted}
        _made = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
    return _made


_made: MarkdownIt | None = None


def _highlighted(code: str, language: str, _attributes: str) -> str:
    lines = highlight.of_language(code, language)
    if lines:
        return "\n".join(lines) + "\n"
    return str(escape(code))


def _name_headings(tokens: list[Token]) -> None:
    """Give each heading an id made of its text, as links inside of the document expect it."""
    seen: dict[str, int] = {}
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            name = _NOT_IN_AN_ID.sub("-", inline.content.lower()).strip("-") or "section"
            count = seen[name] = seen.get(name, 0) + 1
            opening.attrSet("id", ID_PREFIX + (name if count == 1 else f"{name}-{count - 1}"))


def _align_cells(tokens: list[Token]) -> None:
    """Replace inline styles, which a page does not have, by attributes."""
    for token in tokens:
        aligned = _ALIGNED.fullmatch(str(token.attrs.pop("style", "")))
        if aligned:
            token.attrSet("align", aligned[1])


def _image(found: re.Match[str]) -> str:
    """An image of this repository; of another one, whose source was removed, its alternative
    text.
    """
    attributes = dict(_ATTRIBUTE.findall(found[0]))
    if "src" not in attributes:
        return str(attributes.get("alt", ""))
    if "alt" in attributes:
        return found[0]
    return found[0].replace("<img", '<img alt=""', 1)


def _filter(links: Links, ref: str, folder: str) -> Callable[[str, str, str], str | None]:
    def kept(tag: str, attribute: str, value: str) -> str | None:
        match attribute:
            case "href":
                return _target(value, links, "blob", ref, folder)
            case "src":
                target = _target(value, links, links.bytes_view, ref, folder)
                if target and target.startswith(f"{links.base}/"):
                    return target
                return None
            case "class":
                return " ".join(word for word in value.split() if _CLASS.fullmatch(word))
            case "id":
                if value.startswith(ID_PREFIX):
                    return value
                return None
            case "width" | "height":
                if _DIMENSION.fullmatch(value):
                    return value
                return None
        return value

    return kept


def _target(url: str, links: Links, view: str, ref: str, folder: str) -> str | None:
    """The URL that a link or image of the document leads to; None if it leads out of the
    repository.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme or parts.netloc:
        return url
    fragment = f"#{ID_PREFIX}{quote(unquote(parts.fragment), safe='')}" if parts.fragment else ""
    if not parts.path:
        return fragment or None
    path = posixpath.normpath(posixpath.join("/", folder, unquote(parts.path).lstrip("/"))).strip(
        "/"
    )
    return links.to(view, ref, path) + (fragment if view == "blob" else "")
