"""Names that a clone on Windows or macOS can hold.

Windows refuses some characters, a dot or a space at the end of a name, and the names of devices. Both systems take
two names for one that differ only in letter case or in Unicode normalisation. Source: "Naming Files, Paths, and
Namespaces" (Microsoft), and Apple's File System Programming Guide.

Control characters, backslashes and names of more than 255 bytes are refused everywhere: see `names`. A name of
255 bytes has at most 255 UTF-16 units, the limit of Windows.
"""

import re
from bisect import bisect_left
from collections.abc import Collection, Mapping
from itertools import pairwise

from shared.names import fold, shown

SHOWN_CHARACTERS = 40
"""Of one path in a message. A message has room for a few of them."""

_DEVICE = r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])"
_NOT_PORTABLE = re.compile(rf'[<>:"|?*]|[. ](?:/|\Z)|(?:^|/){_DEVICE} *(?:[./]|\Z)', re.IGNORECASE)


def is_portable(name: str) -> bool:
    """Whether Windows can write each part of a path or of a branch name."""
    return _NOT_PORTABLE.search(name) is None


def unwritable(manifests: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """The paths that Windows cannot write, ready to be shown, for each manifest that has any.

    Paths are repeated in each manifest of a history, so each distinct path is examined once.
    """
    bad = {path for path in _distinct(manifests) if not is_portable(path)}
    found = {i: sorted(bad.intersection(manifest)) for i, manifest in manifests.items()} if bad else {}
    return {i: [shown(path, SHOWN_CHARACTERS) for path in paths] for i, paths in found.items() if paths}


def clashes(manifests: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """The pairs of files or folders that are one on disk, ready to be shown, for each manifest that has any.

    All paths together hold such a pair also where a file was renamed. So each manifest is examined by itself, but
    only the paths that are the same as another one, or in the same folder, on disk.
    """
    # With the slash, a folder follows directly after a file of its name.
    folded = {path: fold(path) + "/" for path in _distinct(manifests)}
    prefixes = {fold(one) + "/" for one, _ in _clashes(folded, folded)}
    if not prefixes:
        return {}
    suspects = _at_or_below(prefixes, folded)
    found = {i: _clashes(suspects.intersection(manifest), folded) for i, manifest in manifests.items()}
    return {
        i: [f"{shown(one, SHOWN_CHARACTERS)} beside {shown(other, SHOWN_CHARACTERS)}" for one, other in pairs]
        for i, pairs in found.items()
        if pairs
    }


def _distinct(manifests: Mapping[str, Collection[str]]) -> set[str]:
    return set().union(*manifests.values())


def _at_or_below(prefixes: Collection[str], folded: Mapping[str, str]) -> set[str]:
    """The paths whose folded form begins with one of the prefixes."""
    ordered = sorted(folded, key=folded.__getitem__)
    keys = [folded[path] for path in ordered]
    found: set[str] = set()
    stop = 0
    for prefix in sorted(prefixes):
        # A prefix within the range of the one before it adds nothing.
        start = max(stop, bisect_left(keys, prefix))
        stop = start
        while stop < len(keys) and keys[stop].startswith(prefix):
            stop += 1
        found.update(ordered[start:stop])
    return found


def _clashes(paths: Collection[str], folded: Mapping[str, str]) -> list[tuple[str, str]]:
    """Pairs of files or folders that are one on disk. Paths below one folder are neighbours in this order."""
    found: dict[tuple[str, str], None] = {}
    for first, second in pairwise(sorted(paths, key=lambda path: (folded[path], path))):
        parts, others = first.split("/"), second.split("/")
        depth = next((n for n, (one, other) in enumerate(zip(parts, others, strict=False)) if one != other), None)
        if depth is not None and fold(parts[depth]) == fold(others[depth]):
            found["/".join(parts[: depth + 1]), "/".join(others[: depth + 1])] = None
    return list(found)
