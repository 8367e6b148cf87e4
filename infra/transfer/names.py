"""The names of files and branches of Git, as Muse can hold them.

Git names are bytes. Muse names are text without control characters and backslashes, and no part is
`.muse` or `.git`. A byte that cannot stay becomes `%` and two hex digits.
"""

from shared import names
from shared.errors import InvalidName


def path(name: bytes) -> str | None:
    """A path in Muse; None if no spelling of it is accepted."""
    try:
        return _path(name.decode())
    except (UnicodeDecodeError, InvalidName):
        pass
    parts = [_hidden(part) for part in _escaped(name).split("/")]
    try:
        return _path("/".join(parts))
    except InvalidName:
        return None


def branch(name: bytes) -> str | None:
    """A branch name in Muse; None if no spelling of it is accepted."""
    try:
        return names.check_branch(_escaped(name))
    except InvalidName:
        return None


def _path(text: str) -> str:
    names.check_paths([text], set())
    return text


def _escaped(name: bytes) -> str:
    text = name.decode(errors="surrogateescape")
    return "".join(_escape(character) for character in text)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"%{ord(character) - 0xDC00:02X}"
    if character == "\\" or not character.isprintable():
        return "".join(f"%{byte:02X}" for byte in character.encode())
    return character


def _hidden(part: str) -> str:
    """A part that Muse reserves, with its dot escaped."""
    if part.casefold() in (".muse", ".git"):
        return f"%2E{part[1:]}"
    return part
