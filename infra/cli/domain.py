"""domain: the published descriptions of domain plugins."""

from dataclasses import asdict
from typing import Annotated

import typer

from infra.cli import api, output
from infra.cli.output import Data, Json

app = output.noun("Domains: the published descriptions of plugins.")


@app.command("list")
def list_(json: Json = False, data: Data = None) -> None:
    """List all published domains, each in its present version."""
    with api.opened(data) as hub:
        found = list(hub.domains())
    if json:
        output.document({"domains": [asdict(domain) for domain in found]})
        return
    rows = [
        (f"@{one.author_slug}/{one.slug}", one.version, one.viewer_type, one.display_name)
        for one in found
    ]
    output.table(["domain", "version", "viewer", "name"], rows)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="AUTHOR/SLUG", help="The domain.")],
    json: Json = False,
    data: Data = None,
) -> None:
    """Show a domain."""
    author, slug = output.name_of(name.removeprefix("@"))
    with api.opened(data) as hub:
        domain = hub.domain(author, slug)
    if json:
        output.document(asdict(domain))
        return
    shown = asdict(domain) | {"published_at": output.when(domain.published_at)}
    output.table(["", ""], [(key, value) for key, value in shown.items() if key != "capabilities"])
    output.document(domain.capabilities)
