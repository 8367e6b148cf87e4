"""The pages of a history: the log, one commit, and a comparison."""

from collections.abc import Mapping
from itertools import chain, takewhile
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from shared import log_cursors, media
from shared.actions import browse, contents, history
from shared.actions.browse import Pair
from shared.actions.refs import in_order
from shared.errors import RefNotFound
from shared.http import Access
from shared.model import ObjectId
from shared.web import changes, delta, lanes, piano_roll, rendering, replies, times
from shared.web.context import head
from shared.web.links import Links
from shared.web.visible import first_line

COMMITS = 50
HEADS = 3
"""The most branches that are named beside one commit."""
FILES = 30
"""The most changed files on one page of a difference."""
DIFF_LIMITS = contents.Limits(each_bytes=200_000, total_bytes=2_000_000, reads=10)
"""What is read for one page of a difference. The files after the last read are on the next page."""
PAGE_ROWS = 1_200
"""The most lines of all files on one page of a difference."""
MESSAGE_CHARACTERS = 20_000


async def log(request: Request, access: Access, ref: str) -> Response:
    """The commits of a branch or commit, newest first. Raises RefNotFound."""
    cursor = await log_cursors.opened(access, request.query_params.get("cursor", ""))
    try:
        entries, following = await history.log(access.repository, ref, cursor, COMMITS, access.sees)
    except RefNotFound:
        if ref != access.repo.default_branch:
            raise
        return await _log_of_another_branch(request, access)
    next_cursor = await log_cursors.sealed(access, following)

    async def make() -> str:
        return rendering.render(
            "commits.html",
            **head(request, access, "commits"),
            ref=ref,
            commits=[_entry(entry) for entry in entries],
            next_cursor=next_cursor,
        )

    return await replies.page(request, access, [[e.node.commit_id for e in entries]], make)


async def _log_of_another_branch(request: Request, access: Access) -> Response:
    """The reply to the log of an absent default branch, which is a link of every page.

    It leads to the log of the branch that a clone checks out.
    """
    refs = await access.repository.refs.all() if access.repo.exists else {}
    ordered = in_order(access.repo.default_branch, refs)
    if ordered:
        return RedirectResponse(Links.of(access.repo).to("commits", ordered[0]), 303)

    async def make() -> str:
        return rendering.render("empty.html", **head(request, access, "commits"))

    return await replies.page(request, access, ["empty"], make)


async def graph(request: Request, access: Access) -> Response:
    """The commits of all branches with the lines between them, newest first."""
    if access.repo.exists:
        refs = await access.repository.refs.all()
    else:
        refs = {}
    cursor = await log_cursors.opened(access, request.query_params.get("cursor", ""))
    places = [ref.head for ref in refs.values()]
    entries: list[history.Entry] = []
    following = None
    if refs:
        entries, following = await history.of_all_branches(
            access.repository, places, cursor, COMMITS
        )
    next_cursor = await log_cursors.sealed(access, following)

    async def make() -> str:
        if not entries:
            return rendering.render("empty.html", **head(request, access, "graph"))
        linked = [
            (entry.node.commit_id, [parent.commit_id for parent in entry.node.parents])
            for entry in entries
        ]
        rows = list(lanes.rows(linked))
        heads: dict[str, list[str]] = {}
        for name, ref in refs.items():
            heads.setdefault(ref.head.commit_id, []).append(name)
        width = _widest(rows)
        return rendering.render(
            "graph.html",
            **head(request, access, "graph"),
            commits=[
                (_entry(entry), lanes.drawn(row, width))
                for entry, row in zip(entries, rows, strict=True)
            ],
            heads={commit_id: names[:HEADS] for commit_id, names in heads.items()},
            next_cursor=next_cursor,
        )

    version = [[ref.branch, ref.head.commit_id] for ref in refs.values()]
    return await replies.page(request, access, [version], make)


def _widest(rows: list[lanes.Row]) -> int:
    """The most lanes beside one of these rows."""
    return min(max(max(len(row.above), len(row.below), 1) for row in rows), lanes.LANES)


def _entry(entry: history.Entry) -> dict[str, Any]:
    return {
        "id": entry.node.commit_id,
        "title": first_line(entry.summary["message"], 120) or "(no message)",
        "author": first_line(entry.summary["author"], 80),
        "time": times.of_text(entry.summary["committed_at"]),
        "is_merge": len(entry.node.parents) > 1,
    }


async def commit(request: Request, access: Access, name: str) -> Response:
    """One commit and its changes. Raises CommitNotFound."""
    found, parent = await browse.commit_and_parent(access.repository, name, access.sees)

    async def make() -> str:
        files = await browse.introduced(access.repository, parent, found.node)
        record = found.record
        title, _, rest = _text(record, "message").strip().partition("\n")
        return rendering.render(
            "commit.html",
            **head(request, access, "commits"),
            commit_id=found.node.commit_id,
            title=first_line(title, 300) or "(no message)",
            message=rest.strip()[:MESSAGE_CHARACTERS],
            author=first_line(_text(record, "author"), 200),
            agent={
                label: first_line(_text(record, name), 200)
                for name, label in _AGENT.items()
                if _text(record, name)
            },
            time=times.of_text(_text(record, "committed_at")),
            parents=[parent.commit_id for parent in found.node.parents],
            bump=_text(record, "sem_ver_bump"),
            delta=delta.items(record),
            **await _difference(request, access, files),
        )

    return await replies.page(request, access, [found.node.commit_id], make)


_AGENT = {"agent_id": "agent", "model_id": "model", "toolchain_id": "tool"}


async def compare(request: Request, access: Access, base_and_head: str) -> Response:
    """What differs between two branches or commits: `base...head`. Raises RefNotFound."""
    base, separator, name = base_and_head.partition("...")
    if not separator or not base or not name:
        raise RefNotFound()
    old, new = await browse.both(access.repository, base, name, access.sees)

    async def make() -> str:
        files = await browse.between(access.repository, old, new)
        return rendering.render(
            "compare.html",
            **head(request, access, "branches"),
            base=base,
            other=name,
            commit_id=new.commit.commit_id,
            base_id=old.commit.commit_id,
            **await _difference(request, access, files),
        )

    version: list[object] = [old.commit.commit_id, new.commit.commit_id]
    return await replies.page(request, access, version, make)


async def _difference(request: Request, access: Access, files: Pair) -> dict[str, Any]:
    """One page of the changed files, each with its rows."""
    paths = files.paths()
    after = request.query_params.get("after", "")
    if after:
        following = [path for path in paths if path > after]
    else:
        following = paths
    shown = following[:FILES]
    texts = [path for path in shown if _is_text(path) or _is_midi(path)]
    wanted = chain.from_iterable((files.old.get(path), files.new.get(path)) for path in texts)
    read, left_out = await contents.small(
        access.repository, (one for one in wanted if one), DIFF_LIMITS
    )
    shown = list(
        takewhile(
            lambda path: left_out.isdisjoint((files.old.get(path), files.new.get(path))), shown
        )
    )
    rows_left = PAGE_ROWS
    found = []
    for path in shown:
        file = _file(path, files, read)
        rows = file["rows"] or []
        file["rows"] = rows[:rows_left]
        file["is_cut"] = len(rows) > rows_left or len(rows) == changes.ROWS
        rows_left -= len(file["rows"])
        found.append(file)
    return {
        "files": found,
        "changed": len(paths),
        "next_after": shown[-1] if len(following) > len(shown) else "",
        "counts": _counts(files, paths),
    }


def _counts(files: Pair, paths: list[str]) -> Mapping[str, int]:
    added = sum(1 for path in paths if path not in files.old)
    removed = sum(1 for path in paths if path not in files.new)
    return {"added": added, "removed": removed, "changed": len(paths) - added - removed}


def _file(path: str, files: Pair, read: Mapping[ObjectId, bytes]) -> dict[str, Any]:
    old = files.old.get(path)
    new = files.new.get(path)
    if old is None:
        kind = "added"
    elif new is None:
        kind = "removed"
    else:
        kind = "changed"
    old_content = read.get(old) if old else None
    new_content = read.get(new) if new else None
    before = _decoded(old_content if old else b"")
    after = _decoded(new_content if new else b"")
    rows = None
    if before is not None and after is not None and _is_text(path):
        rows = changes.of_texts(before, after)
    file = {"path": path, "kind": kind, "rows": rows, "is_text": rows is not None}
    return {**file, **_roll(path, old_content, new_content)}


def _roll(path: str, old: bytes | None, new: bytes | None) -> dict[str, Any]:
    """The notes of both versions of a MIDI file; of one, if the other is absent or damaged."""
    if old and _is_midi(path):
        before = piano_roll.parsed(old)
    else:
        before = None
    if new and _is_midi(path):
        after = piano_roll.parsed(new)
    else:
        after = None
    song = after or before
    if song is None:
        return {"roll": None, "legend": None}
    other = before if after else None
    return {"roll": piano_roll.roll(song, other), "legend": piano_roll.legend(song, other)}


def _is_midi(path: str) -> bool:
    return media.type_of(path) == "audio/midi"


def _decoded(data: bytes | None) -> str | None:
    """A text; None if it was not read or is no text."""
    if data is None or media.sniffed(data[: media.SNIFF_BYTES]) != media.TEXT:
        return None
    return data.decode(errors="replace")


def _is_text(path: str) -> bool:
    """Whether a file may be a text, by its name."""
    return media.type_of(path) in (None, media.TEXT, "application/json")


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return value if isinstance(value, str) else ""
