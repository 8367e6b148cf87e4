"""The pages of branches and releases."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shared import codec, cursors, names
from shared.actions import releases
from shared.errors import ReleaseNotFound
from shared.http import Access
from shared.model import Role
from shared.protocol.releases import ListReleases
from shared.web import markdown, rendering, replies, times
from shared.web.context import head
from shared.web.links import Links
from shared.web.visible import first_line

BRANCHES = 100
RELEASES = 20
CHANGELOG = 100
"""The most entries of a change log that are shown."""


async def branches(request: Request, access: Access) -> Response:
    """The branches by name, each with its head."""
    after = cursors.parse_after(request.query_params.get("cursor", ""))
    refs = access.repository.refs
    found, has_more = await refs.page(BRANCHES, after)

    async def make() -> str:
        shown = [
            {
                "name": ref.branch,
                "head": ref.head.commit_id,
                "moved": times.of_seconds(ref.moved_at / 1000) if ref.moved_at else None,
            }
            for ref in found
        ]
        return rendering.render(
            "branches.html",
            **head(request, access, "branches"),
            branches=shown,
            next_cursor=cursors.after(found[-1].branch if has_more else None),
        )

    version = [(ref.branch, ref.head.commit_id, ref.moved_at) for ref in found]
    return await replies.page(request, access, [version], make)


async def all_releases(request: Request, access: Access) -> Response:
    """The releases, newest first. Drafts are shown to those who may push.

    Raises Unprocessable for an invalid cursor.
    """
    try:
        asked = ListReleases(limit=RELEASES, cursor=request.query_params.get("cursor", ""))
    except ValueError:  # of pydantic: the cursor is too long
        raise cursors.invalid() from None
    with_drafts = access.role.allows(Role.WRITE)
    records, cursor = await releases.listed(access.repository, asked, with_drafts=with_drafts)

    async def make() -> str:
        return rendering.render(
            "releases.html",
            **head(request, access, "releases"),
            releases=[_release(codec.unpack_record(record)) for record in records],
            next_cursor=cursor,
        )

    return await replies.page(request, access, [records], make)


async def release(request: Request, access: Access, tag: str) -> Response:
    """One release. Raises ReleaseNotFound."""
    if not names.is_release_tag(tag):
        raise ReleaseNotFound()
    packed = await access.repository.releases.one(tag)
    record = codec.unpack_record(packed) if packed else {}
    if not record or (record.get("is_draft") and not access.role.allows(Role.WRITE)):
        raise ReleaseNotFound()

    async def make() -> str:
        links = Links.of(access.repo)
        return rendering.render(
            "release.html",
            **head(request, access, "releases"),
            release=_release(record),
            body=markdown.rendered(str(record.get("body", "")), links, record["commit_id"]),
            changelog=[_change(entry) for entry in record.get("changelog", [])[:CHANGELOG]],
        )

    return await replies.page(request, access, [packed], make)


def _release(record: Mapping[str, Any]) -> dict[str, Any]:
    tag = str(record.get("tag", ""))
    return {
        "tag": tag,
        "title": first_line(str(record.get("title", "")), 200) or tag,
        "channel": str(record.get("channel", "")),
        "is_draft": bool(record.get("is_draft")),
        "commit_id": str(record.get("commit_id", "")),
        "time": times.of_text(str(record.get("created_at", ""))),
        "summary": first_line(str(record.get("body", "")), 200),
    }


def _change(entry: Any) -> dict[str, str]:
    values = entry if isinstance(entry, Mapping) else {}
    return {
        "id": str(values.get("commit_id", "")),
        "title": first_line(str(values.get("message", "")), 200),
        "author": first_line(str(values.get("author", "")), 80),
    }
