"""The pages of the hub itself, of a user, and of a repository."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from shared import cursors, names
from shared.actions import downloads, repos, snapshots
from shared.actions.refs import in_order
from shared.actions.snapshots import Snapshot
from shared.errors import PathNotFound
from shared.http import Access, Visitor, browser
from shared.web import links, markdown, rendering, replies, times, tree
from shared.web.context import head
from shared.web.links import Links

REPOS = 50
"""The repositories on one page of a user."""
RECENT = 12
"""The newest public repositories on the first page."""
README_BYTES = 100_000


async def hub(request: Request, visitor: Visitor) -> Response:
    """What this hub is, the way to a repository, and the newest public ones."""
    wanted = request.query_params.get("go", "").strip().strip("/")
    if wanted:
        parts = wanted.split("/")[:2]
        if all(map(names.is_repo_name, parts)):
            return RedirectResponse("/" + "/".join(parts), 303)
    recent = await visitor.stores.repos.recent(RECENT)
    html = rendering.render(
        "hub.html",
        viewer=visitor.by,
        base_url=browser.origin(request),
        wanted=wanted[:200],
        recent=[(repo, Links.of(repo), times.of_seconds(repo.created_at)) for repo in recent],
    )
    return replies.plain(request, html)


async def owner(request: Request, handle: str, visitor: Visitor) -> Response:
    """The repositories of a user that the viewer may read.

    Raises RepoNotFound if there are none.
    """
    after = cursors.parse_after(request.query_params.get("cursor", "")) or None
    found = await repos.readable(
        visitor.stores, handle, visitor.identity, visitor.role, after, REPOS + 1
    )
    if not found and visitor.by != handle:
        raise names.repo_not_found(handle)
    shown = [repo for repo, _ in found[:REPOS]]
    if len(found) > REPOS:
        cursor = cursors.after(shown[-1].slug)
    else:
        cursor = None
    handle = shown[0].owner if shown else handle
    html = rendering.render(
        "owner.html",
        viewer=visitor.by,
        base_url=browser.origin(request),
        owner=handle,
        repos=[(repo, Links.of(repo), times.of_seconds(repo.created_at)) for repo in shown],
        next_url=f"{links.owner(handle)}?cursor={cursor}" if cursor else "",
    )
    return replies.plain(request, html)


async def repository(request: Request, access: Access) -> Response:
    """The files at the default branch, the README, and the commands to clone and push."""
    if access.repo.exists:
        refs = await access.repository.refs.all()
    else:
        refs = {}
    first = next(iter(in_order(access.repo.default_branch, refs)), None)
    ref = refs[first] if first else None

    async def make() -> str:
        if ref is None:
            return rendering.render("empty.html", **head(request, access, "files"))
        files = await snapshots.of_branch(access.repository, ref)
        snapshot = Snapshot(ref.branch, "", ref.head, is_fixed=False, files=files)
        return rendering.render(
            "repository.html",
            **head(request, access, "files"),
            ref=ref.branch,
            commit_id=ref.head.commit_id,
            moved=times.of_seconds(ref.moved_at / 1000) if ref.moved_at else None,
            branches=len(refs),
            files=len(files),
            entries=tree.entries(files, "")[:ENTRIES],
            readme=await _readme(access, snapshot),
        )

    version = [(name, refs[name].head.commit_id) for name in refs]
    return await replies.page(request, access, [version], make)


ENTRIES = 1_000
"""The entries of a folder that are shown."""


async def _readme(access: Access, snapshot: Snapshot) -> Mapping[str, object] | None:
    """The text that describes the repository, with its path; None without one."""
    path = tree.readme(snapshot.files)
    if path is None:
        return None
    try:
        content = (await downloads.file_of(access.repository, snapshot, path)).content
    except PathNotFound:
        return None
    data = await content.read(0, min(content.length, README_BYTES))
    text = data.decode(errors="replace")
    is_markdown = tree.is_markdown(path)
    return {
        "path": path,
        "is_cut": content.length > README_BYTES,
        "html": markdown.rendered(text, Links.of(access.repo), snapshot.name)
        if is_markdown
        else None,
        "text": text,
    }
