"""The pages of a folder and of a file."""

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from shared import file_response, media
from shared.actions import downloads, snapshots
from shared.actions.downloads import File
from shared.actions.snapshots import Snapshot
from shared.errors import PathNotFound
from shared.http import Access
from shared.web import highlight, markdown, piano_roll, rendering, replies, tree
from shared.web.context import head
from shared.web.links import Links
from shared.web.visible import visible

ENTRIES = 1_000
TEXT_BYTES = 1_000_000
"""A larger text is not shown, only offered."""
LINES = 1_000
"""The most lines on one page of a text."""
PAGE_CHARACTERS = 48_000


async def folder(request: Request, access: Access, ref_and_path: str) -> Response:
    """The entries of a folder at a branch or commit. Raises RefNotFound or PathNotFound."""
    snapshot = await snapshots.at(access.repository, ref_and_path, access.sees)
    if snapshot.path in snapshot.files:
        url = Links.of(access.repo).to("blob", snapshot.name, snapshot.path)
        return RedirectResponse(url, 303)
    entries = tree.entries(snapshot.files, snapshot.path)
    if not entries and snapshot.path:
        raise PathNotFound()
    start = replies.number(request, "from")

    async def make() -> str:
        return rendering.render(
            "folder.html",
            **head(request, access, "files"),
            **_place(snapshot),
            entries=entries[start : start + ENTRIES],
            start=start,
            following=start + ENTRIES if len(entries) > start + ENTRIES else 0,
        )

    return await replies.page(request, access, [snapshot.commit.commit_id], make)


async def blob(request: Request, access: Access, ref_and_path: str) -> Response:
    """A file at a branch or commit. Raises RefNotFound or PathNotFound."""
    snapshot = await snapshots.at(access.repository, ref_and_path, access.sees)
    if snapshot.path not in snapshot.files and tree.entries(snapshot.files, snapshot.path):
        return RedirectResponse(Links.of(access.repo).to("tree", snapshot.name, snapshot.path), 303)
    object_id = snapshot.files.get(snapshot.path)

    async def make() -> str:
        file = await downloads.file_of(access.repository, snapshot)
        return rendering.render(
            "blob.html",
            **head(request, access, "files"),
            **_place(snapshot),
            length=file.content.length,
            **await _shown(request, access, snapshot, file),
        )

    return await replies.page(request, access, [snapshot.commit.commit_id, object_id], make)


async def content(request: Request, access: Access, ref_and_path: str) -> Response:
    """The bytes of a file, for an image or a player of a page, or to save them.

    They never run on the origin of the hub: the reply is a sandbox without scripts, and HTML is
    sent as text. Raises RefNotFound, PathNotFound or RangeNotSatisfiable.
    """
    file = await downloads.file(access.repository, ref_and_path, access.sees)
    return await file_response.send(request, file.content, replies.of_bytes(access.repo), file.path)


def _place(snapshot: Snapshot) -> dict[str, Any]:
    """Where a page is: the version, the path, and the folders above."""
    if snapshot.path:
        parts = snapshot.path.split("/")
    else:
        parts = []
    paths = list(accumulate(parts, lambda above, part: f"{above}/{part}"))
    return {
        "ref": snapshot.name,
        "commit_id": snapshot.commit.commit_id,
        "path": snapshot.path,
        "above": list(zip(parts, paths, strict=True))[:-1],
        "name": parts[-1] if parts else "",
        "parent": paths[-2] if len(paths) > 1 else "",
    }


async def _shown(
    request: Request, access: Access, snapshot: Snapshot, file: File
) -> Mapping[str, Any]:
    """The view of a file: `kind`, and the values for its template."""
    kind = media.type_of(file.path)
    for prefix in ("image", "audio", "video"):
        if kind and kind.startswith(f"{prefix}/") and kind != "audio/midi":
            return {"kind": prefix}
    if kind == "audio/midi" and file.content.length <= piano_roll.FILE_BYTES:
        song = piano_roll.parsed(await file.content.read(0, file.content.length))
        if song:
            roll = piano_roll.roll(song)
            legend = piano_roll.legend(song)
            return {"kind": "midi", "roll": roll, "legend": legend}
    if kind not in (None, media.TEXT, "application/json") or file.content.length > TEXT_BYTES:
        return {"kind": "binary" if file.content.length <= TEXT_BYTES else "large"}
    data = await file.content.read(0, file.content.length)
    if kind is None and media.sniffed(data[: media.SNIFF_BYTES]) != media.TEXT:
        return {"kind": "binary"}
    text = data.decode(errors="replace")
    if tree.is_markdown(file.path) and "plain" not in request.query_params:
        folder = file.path.rpartition("/")[0]
        html = markdown.rendered(text, Links.of(access.repo), snapshot.name, folder)
        is_cut = len(text) > markdown.CHARACTERS
        return {"kind": "markdown", "html": html, "is_cut": is_cut}
    return _text(text, file.path, replies.number(request, "from"))


def _text(text: str, path: str, start: int) -> dict[str, Any]:
    """One page of the lines of a text, from the line with this index.

    A line that is longer than a page is not shown: its page would exceed the limit of a reply.
    """
    if text:
        count = len(visible(text).removesuffix("\n").split("\n"))
    else:
        count = 0
    if text:
        lines = highlight.of_file(text, path)[start : start + LINES]
    else:
        lines = []
    sizes = accumulate(len(line.striptags()) for line in lines)
    fitting = sum(1 for size in sizes if size <= PAGE_CHARACTERS)
    if lines and not fitting:
        return {"kind": "large"}
    lines = lines[:fitting]
    stop = start + len(lines)
    return {
        "kind": "text",
        "lines": list(enumerate(lines, start + 1)),
        "count": count,
        "following": stop if stop < count else 0,
        "start": start,
    }
