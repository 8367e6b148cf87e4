"""release: the releases of a repository. The client publishes them."""

from typing import Annotated

import typer

from infra.cli import api, output
from infra.cli.output import Data, Json, Name

app = output.noun("Releases of a repository.")


@app.command("list")
def list_(
    name: Name,
    channel: Annotated[str, typer.Option(help="Of this channel. Default: of all.")] = "",
    drafts: Annotated[bool, typer.Option("--drafts", help="Also drafts, for writers.")] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """List the releases of a repository, the newest first."""
    owner, slug = output.name_of(name)
    with api.opened(data) as hub:
        found = list(hub.releases(owner, slug, channel, include_drafts=drafts))
    if json:
        output.document({"releases": found})
        return
    rows = [
        (one["tag"], one["channel"], one["commit_id"], one["created_at"], one["title"])
        for one in found
    ]
    output.table(["tag", "channel", "commit", "created", "title"], rows)


@app.command()
def delete(
    name: Name,
    tag: Annotated[str, typer.Argument(help="The tag of the release.")],
    json: Json = False,
    data: Data = None,
) -> None:
    """Retract a release. Its tag is free again, and its commit stays."""
    owner, slug = output.name_of(name)
    with api.opened(data) as hub:
        hub.delete_release(owner, slug, tag)
    if json:
        output.document({"deleted": tag})
    else:
        output.say(f"deleted: the release {tag} of {name}")
