"""The pages of published domains."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shared import codec, cursors
from shared.actions import domains
from shared.http import Visitor, browser
from shared.protocol.domains import Capabilities
from shared.web import links, rendering, replies, times

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


def _shown(record: dict[str, Any]) -> dict[str, Any]:
    published = times.of_seconds(record["published_at"])
    return {**record, "url": links.domain(record["author_slug"], record["slug"]), "time": published}
