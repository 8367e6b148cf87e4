"""The web pages, for clients that accept HTML.

All other clients get the reply of a URL without a route.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas
from shared.http import Access, Visitor, browser
from shared.web import domains, files, history, labels, overview, resources
from shared.web.route import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Access, Depends(http.may_read("read", browser.credentials))]
Viewing = Annotated[Access, Depends(http.may_read("upload", browser.credentials))]
Viewer = Annotated[Visitor, Depends(http.visiting("read", browser.credentials))]


@router.get("/static/{name}")
async def get_static(request: Request, name: str) -> Response:
    """The style sheet or the icon."""
    return resources.static(request, name)


@router.get("/favicon.ico")
async def get_icon(request: Request) -> Response:
    """The icon, for programs that do not read the page."""
    return resources.icon(request)


@router.get("/robots.txt")
async def get_robots(request: Request) -> Response:
    """Which pages a search engine may read."""
    return resources.robots(request)


@router.get("/")
async def get_hub(request: Request, visitor: Viewer) -> Response:
    """What this hub is."""
    return await overview.hub(request, visitor)


@router.get("/domains")
async def get_domains(request: Request, visitor: Viewer) -> Response:
    """The published domains."""
    return await domains.all_domains(request, visitor)


@router.get("/domains/{author}/{slug}")
async def get_domain(request: Request, author: str, slug: str, visitor: Viewer) -> Response:
    """A domain."""
    return await domains.domain(request, author, slug, visitor)


@router.get("/{owner}")
async def get_owner(request: Request, owner: str, visitor: Viewer) -> Response:
    """The repositories of a user."""
    return await overview.owner(request, owner, visitor)


@router.get("/{owner}/{slug}")
async def get_repository(request: Request, access: Reader) -> Response:
    """A repository."""
    return await overview.repository(request, access)


@router.get("/{owner}/{slug}/tree/{ref_and_folder:path}")
async def get_tree(request: Request, access: Reader) -> Response:
    """A folder."""
    return await files.folder(request, access, http.rest_of_path(request, 3))


@router.get("/{owner}/{slug}/blob/{ref_and_path:path}")
async def get_blob(request: Request, access: Reader) -> Response:
    """A file."""
    return await files.blob(request, access, http.rest_of_path(request, 3))


@router.get("/{owner}/{slug}/file/{ref_and_path:path}")
async def get_file(request: Request, access: Viewing) -> Response:
    """The bytes of a file."""
    return await files.content(request, access, http.rest_of_path(request, 3))


@router.get("/{owner}/{slug}/commits/{ref:path}")
async def get_log(request: Request, access: Reader) -> Response:
    """The history of a branch or a commit."""
    return await history.log(request, access, http.rest_of_path(request, 3))


@router.get("/{owner}/{slug}/commit/{commit_id}")
async def get_commit(request: Request, commit_id: str, access: Reader) -> Response:
    """A commit and its changes."""
    return await history.commit(request, access, commit_id)


@router.get("/{owner}/{slug}/compare/{base_and_head:path}")
async def get_comparison(request: Request, access: Reader) -> Response:
    """What differs between two branches or commits."""
    return await history.compare(request, access, http.rest_of_path(request, 3))


@router.get("/{owner}/{slug}/branches")
async def get_branches(request: Request, access: Reader) -> Response:
    """The branches."""
    return await labels.branches(request, access)


@router.get("/{owner}/{slug}/graph")
async def get_graph(request: Request, access: Reader) -> Response:
    """The graph of all branches."""
    return await history.graph(request, access)


@router.get("/{owner}/{slug}/release")
async def get_releases(request: Request, access: Reader) -> Response:
    """The releases."""
    return await labels.all_releases(request, access)


@router.get("/{owner}/{slug}/release/{tag:path}")
async def get_release(request: Request, access: Reader) -> Response:
    """A release."""
    return await labels.release(request, access, http.rest_of_path(request, 3))


app = http.create_app(router)
handler = lambdas.handler_of(app)
