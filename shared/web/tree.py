"""The entries of one folder of a manifest, and the files of a folder that describe it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_README = re.compile(r"readme(\.(md|markdown|txt))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, or a folder with the number of the files in it and in its folders."""

    name: str
    path: str
    files: int = 0

    @property
    def is_folder(self) -> bool:
        """Whether this is a folder."""
        return self.files > 0


def entries(files: Mapping[str, str], folder: str) -> list[Entry]:
    """The entries of a folder, the folders first. Empty if there is no such folder."""
    prefix = f"{folder}/" if folder else ""
    counts: dict[str, int] = {}
    found: list[Entry] = []
    for path in files:
        if not path.startswith(prefix):
            continue
        name, slash, _ = path[len(prefix) :].partition("/")
        if slash:
            counts[name] = counts.get(name, 0) + 1
        else:
            found.append(Entry(name, path))
    folders = [Entry(name, prefix + name, count) for name, count in counts.items()]
    return sorted(folders, key=_order) + sorted(found, key=_order)


def _order(entry: Entry) -> tuple[str, str]:
    return entry.name.casefold(), entry.name


def readme(files: Mapping[str, str]) -> str | None:
    """The path of the file that describes a repository; Markdown is preferred."""
    named = [path for path in files if "/" not in path and _README.fullmatch(path)]
    return min(named, key=lambda path: (not is_markdown(path), path), default=None)


def is_markdown(path: str) -> bool:
    """Whether a file is Markdown, by its name."""
    return path.lower().endswith((".md", ".markdown"))
