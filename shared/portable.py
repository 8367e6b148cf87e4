"""Names that a clone on Windows or macOS can store.

Windows refuses some characters, a dot or a space at the end of a name, and the names of devices.
Both systems treat names as equal that differ only in letter case or in Unicode normalisation.
Source: "Naming Files, Paths, and Namespaces" (Microsoft), and Apple's File System Programming
Guide.

`names` refuses control characters, backslashes and names of more than 255 bytes in every
repository. A name of 255 bytes has at most 255 UTF-16 units, the limit of Windows.
"""

import re
from bisect import bisect_left
from collections.abc import Collection, Mapping
from itertools import pairwise

from shared.names import Id, fold, shown

SHOWN_CHARACTERS = 40
"""A path in a message is cut to this length, so that a message has room for a few of them."""

_DEVICE = r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])"
_NOT_PORTABLE = re.compile(rf'[<>:"|?*]|[. ](?:/|\Z)|(?:^|/){_DEVICE} *(?:[./]|\Z)', re.IGNORECASE)


def is_portable(name: str) -> bool:
    """Whether Windows can write each part of a path or of a branch name."""
    return _NOT_PORTABLE.search(name) is None


def unwritable(manifests: Mapping[Id, Collection[str]]) -> dict[Id, list[str]]:
    """Return the paths that Windows cannot write, quoted for a message, by manifest.

    Manifests without such paths are left out. Most paths occur in each manifest of a history, so
    each distinct path is examined only once.
    """
    bad = {path for path in _distinct(manifests) if not is_portable(path)}
    if not bad:
        return {}
    found: dict[Id, list[str]] = {}
    for manifest_id, manifest in manifests.items():
        paths = sorted(bad.intersection(manifest))
        if paths:
            found[manifest_id] = [shown(path, SHOWN_CHARACTERS) for path in paths]
    return found


def clashes(manifests: Mapping[Id, Collection[str]]) -> dict[Id, list[str]]:
    """Return the pairs of paths that are the same on disk, quoted for a message, by manifest.

    Manifests without such pairs are left out. A rename also makes a pair, of paths in two
    manifests. So each manifest is examined by itself, but only those of its paths that are equal to
    another path, or in a folder that is equal to another one, in any of the manifests.
    """
    # With the slash, a folder follows directly after a file of its name in sorted order.
    folded = {path: fold(path) + "/" for path in _distinct(manifests)}
    prefixes = {fold(one) + "/" for one, _ in _clashes(folded, folded)}
    if not prefixes:
        return {}
    suspects = _at_or_below(prefixes, folded)
    found: dict[Id, list[str]] = {}
    for manifest_id, manifest in manifests.items():
        pairs = _clashes(suspects.intersection(manifest), folded)
        if pairs:
            found[manifest_id] = [_pair_text(one, other) for one, other in pairs]
    return found


def _pair_text(one: str, other: str) -> str:
    return f"{shown(one, SHOWN_CHARACTERS)} beside {shown(other, SHOWN_CHARACTERS)}"


def _distinct(manifests: Mapping[Id, Collection[str]]) -> set[str]:
    return set().union(*manifests.values())


def _at_or_below(prefixes: Collection[str], folded: Mapping[str, str]) -> set[str]:
    """The paths whose folded form begins with one of the prefixes."""
    ordered = sorted(folded, key=folded.__getitem__)
    keys = [folded[path] for path in ordered]
    found: set[str] = set()
    stop = 0
    for prefix in sorted(prefixes):
        # A prefix within the range of the previous prefix adds no paths.
        start = max(stop, bisect_left(keys, prefix))
        stop = start
        while stop < len(keys) and keys[stop].startswith(prefix):
            stop += 1
        found.update(ordered[start:stop])
    return found


def _clashes(paths: Collection[str], folded: Mapping[str, str]) -> list[tuple[str, str]]:
    """Pairs of files or folders that are the same on disk."""
    found: dict[tuple[str, str], None] = {}
    # Paths below one folder are neighbours in this order.
    for first, second in pairwise(sorted(paths, key=lambda path: (folded[path], path))):
        parts = first.split("/")
        others = second.split("/")
        pairs = enumerate(zip(parts, others, strict=False))
        depth = next((n for n, (one, other) in pairs if one != other), None)
        if depth is not None and fold(parts[depth]) == fold(others[depth]):
            found["/".join(parts[: depth + 1]), "/".join(others[: depth + 1])] = None
    return list(found)
