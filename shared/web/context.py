"""What every page of a repository shows: its name, its links, and the viewer."""

from typing import Any

from starlette.requests import Request

from shared.http import Access, browser
from shared.model import Role, Visibility
from shared.web.links import Links


def head(request: Request, access: Access, tab: str) -> dict[str, Any]:
    """The values of the head of a page of this repository; `tab` is the current one."""
    return {
        "viewer": access.by,
        "base_url": browser.origin(request),
        "repo": access.repo,
        "links": Links.of(access.repo),
        "is_private": access.repo.visibility is Visibility.PRIVATE,
        "may_push": access.role.allows(Role.WRITE),
        "may_admin": access.role.allows(Role.ADMIN),
        "tab": tab,
    }
