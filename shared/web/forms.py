"""The parts that all forms have in common."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from shared.errors import ApiError, RepoNotFound, Unauthorized, Unprocessable
from shared.http import browser
from shared.web.visible import visible

Fields = Mapping[str, str]

NOTICES = {
    "saved": "The changes are saved.",
    "revoked": "The token is revoked.",
    "linked": "You can sign in through the provider from now on.",
    "issuer-removed": "The issuer is trusted no longer.",
    "renamed": "The repository has its new name. Tokens that are limited to the old name do not"
    " open it.",
    "deleted": "The repository is deleted. You can restore it within a day.",
    "restored": "The repository is restored.",
    "member": "The member is saved.",
    "removed": "The member is removed.",
    "branch-deleted": "The branch is deleted. You can restore it for 30 days.",
    "branch-restored": "The branch is restored.",
}
"""The confirmations of changes, by their names in URLs."""


def head(request: Request, viewer: str) -> dict[str, Any]:
    """The values that every page with a form has: the token of its forms, and the last result."""
    return {
        "viewer": viewer,
        "base_url": browser.origin(request),
        "form_token": browser.form_token(browser.session(request) or ""),
        "notice": NOTICES.get(request.query_params.get("done", ""), ""),
    }


def fields(request: Request) -> Fields:
    """The fields of the submitted form. `FormRoute` has verified it."""
    submitted: Fields = request.state.fields
    return submitted


def see(url: str, done: str = "") -> Response:
    """The reply to a form that was carried out: the browser opens this page of the hub next.

    `done` is the name of a notice.
    """
    return RedirectResponse(f"{url}{'&' if '?' in url else '?'}done={done}" if done else url, 303)


async def result(
    work: Callable[[], Awaitable[Response]], again: Callable[[ApiError], Awaitable[Response]]
) -> Response:
    """Carry out a form. If its values are refused, show it again with the error."""
    try:
        return await work()
    except (RepoNotFound, Unauthorized):
        raise
    except ApiError as error:
        if error.status >= 500 or error.status == 429:
            raise
        return await again(error)


def number(fields: Fields, name: str, choices: Collection[int]) -> int:
    """One of these numbers. Raises Unprocessable."""
    chosen = {str(choice): choice for choice in choices}.get(fields.get(name, ""))
    if chosen is None:
        raise Unprocessable(f"choose one of the values of {name}")
    return chosen


def require_name(fields: Fields, name: str) -> None:
    """Raise Unprocessable unless the user typed this name to confirm, as a page shows it."""
    if fields.get("confirm", "").strip() not in (name.strip(), visible(name)):
        raise Unprocessable(f"type {name} into the field to confirm; nothing was changed")
