"""Source code as highlighted lines, by Pygments. Classes only: a page has no inline styles."""

from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name, get_lexer_for_filename
from pygments.util import ClassNotFound

from shared.web.visible import visible

CHARACTERS = 200_000
"""A longer text is not highlighted: it would take more than a second."""
LINE_CHARACTERS = 5_000
"""A text with a longer line is not highlighted: some lexers take quadratic time."""


def of_file(text: str, path: str) -> list[Markup]:
    """The lines of a file, highlighted if its name is that of a known language."""
    text = visible(text)
    if _is_short(text):
        lines = _highlighted(text, _lexer_of_file(path))
    else:
        lines = None
    return lines or _plain(text)


def of_language(text: str, language: str) -> list[Markup]:
    """The lines of a text in this language; empty if the language is not known."""
    try:
        if language and _is_short(text):
            lexer = get_lexer_by_name(language, stripnl=False)
        else:
            lexer = None
    except ClassNotFound:
        lexer = None
    return _highlighted(text, lexer) or []


def _highlighted(text: str, lexer: Lexer | None) -> list[Markup] | None:
    if lexer is None:
        return None
    html = highlight(text, lexer, HtmlFormatter(nowrap=True))
    return [Markup(line) for line in html.removesuffix("\n").split("\n")]  # noqa: S704 (escaped by Pygments)


def _lexer_of_file(path: str) -> Lexer | None:
    try:
        return get_lexer_for_filename(path.rpartition("/")[2], stripnl=False)
    except ClassNotFound:
        return None


def _is_short(text: str) -> bool:
    if len(text) > CHARACTERS:
        return False
    return max(map(len, text.split("\n"))) <= LINE_CHARACTERS


def _plain(text: str) -> list[Markup]:
    return [escape(line) for line in text.removesuffix("\n").split("\n")]
