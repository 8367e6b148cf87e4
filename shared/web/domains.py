"""The pages of published domains."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shared import codec, cursors
from shared.actions import domains
from shared.errors import ApiError, DomainNotFound, Forbidden
from shared.http import Caller, Visitor, browser
from shared.protocol.domains import Capabilities
from shared.web import forms, links, rendering, replies, times

DOMAINS = 50
"""The domains on one page."""


async def all_domains(request: Request, visitor: Visitor) -> Response:
    """The domains by author and name. Raises Unprocessable for an invalid cursor."""
    after = cursors.parse_after(request.query_params.get("cursor", "")) or None
    records, cursor = await domains.listed(visitor.stores, DOMAINS, after)
    html = rendering.render(
        "domains.html",
        viewer=visitor.by,
        base_url=browser.origin(request),
        domains=[_shown(codec.unpack_record(record)) for record in records],
        next_url=f"/domains?cursor={cursor}" if cursor else "",
    )
    return replies.plain(request, html)


async def domain(request: Request, author: str, slug: str, visitor: Visitor) -> Response:
    """One domain. Raises DomainNotFound."""
    record = await domains.one(visitor.stores, author, slug)
    html = rendering.render(
        "domain.html",
        viewer=visitor.by,
        base_url=browser.origin(request),
        domain=_shown(record),
        capabilities=Capabilities.model_validate(record["capabilities"]),
    )
    return replies.plain(request, html)


async def deletion_page(
    request: Request, caller: Caller, author: str, slug: str, error: ApiError | None = None
) -> Response:
    """The form to delete a domain of the user. Raises DomainNotFound or Forbidden."""
    record = await domains.one(caller.stores, author, slug)
    domains.check_may_delete(caller.identity, record["author_slug"])
    html = rendering.render(
        "domain-delete.html",
        **forms.head(request, caller.identity.subject),
        scoped_id=record["scoped_id"],
        url=links.domain(record["author_slug"], record["slug"]),
        error=error,
    )
    return replies.form(request, html, error.status if error else 200)


async def delete(request: Request, caller: Caller, author: str, slug: str) -> Response:
    """Delete a domain of the user."""
    fields = forms.fields(request)

    async def work() -> Response:
        forms.require_name(fields, f"{author}/{slug}")
        await domains.delete(caller.stores, caller.identity, author, slug)
        return forms.see("/domains")

    async def again(error: ApiError) -> Response:
        if isinstance(error, (DomainNotFound, Forbidden)):
            raise error
        return await deletion_page(request, caller, author, slug, error)

    return await forms.result(work, again)


def _shown(record: dict[str, Any]) -> dict[str, Any]:
    published = times.of_seconds(record["published_at"])
    return {**record, "url": links.domain(record["author_slug"], record["slug"]), "time": published}
