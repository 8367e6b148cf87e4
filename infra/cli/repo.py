"""repo: create, list, show and delete; the other commands are in the modules repo_*."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.cli import api, output, remote, repo_branches, repo_changes, repo_members, repo_packs
from infra.cli.commands import plain
from infra.cli.output import Data, Json, Name
from infra.cli.repo_changes import PORTABLE_NAMES, document
from infra.client.models import NewRepo, Repository
from shared.model import PortableNames, Repo
from shared.protocol import repositories as protocol
from shared.stores import Stores

app = output.noun("Repositories, their branches and their members.")


@dataclass(frozen=True)
class NewRepository:
    """The options of `pieria repo create`."""

    name: Name
    private: Annotated[
        bool, typer.Option("--private", help="Only its owner and its members may read it.")
    ] = False
    description: Annotated[str, typer.Option(help="One line of text.")] = ""
    default_branch: Annotated[str, typer.Option(help="The branch that a clone checks out.")] = (
        "main"
    )
    domain: Annotated[str, typer.Option(help="The kind of its content: code, midi, …")] = "code"
    portable_names: Annotated[PortableNames, typer.Option(help=PORTABLE_NAMES)] = PortableNames.ON
    json: Json = False
    data: Data = None


@app.command()
@output.with_options
def create(options: NewRepository) -> None:
    """Create an empty repository. Claims the handle of its owner if it is free."""
    owner, slug = output.name_of(options.name)
    new = NewRepo(
        slug=slug,
        visibility="private" if options.private else "public",
        domain=options.domain,
        description=options.description,
        default_branch=options.default_branch,
        portable_names=options.portable_names.value,
    )
    with api.opened(options.data, owner) as hub:
        output.check_options(protocol.NewRepo, asdict(new))
        repo = hub.create_repo(new)
    if options.json:
        output.document(document(repo))
    else:
        output.say(f"created: {repo.owner}/{repo.slug}, {repo.visibility}")


@app.command("list")
def list_(
    owner: Annotated[
        str,
        typer.Argument(
            metavar="HANDLE", help="Of this user. Default: of all users; with --hub, yours."
        ),
    ] = "",
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Deleted ones that can be restored.")
    ] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """List the repositories of a user, or of the whole hub, private ones included.

    With --hub: those of a user that the user of the token may read.
    """
    if deleted:
        _list_deleted(owner, json=json, data=data)
        return
    if owner or remote.selected():
        with api.opened(data) as hub:
            owner = owner or hub.me().handle
            found = list(hub.repos(owner))
    else:
        found = _all_repos(data)
    if json:
        whose = {"owner": owner} if owner else {}
        output.document({**whose, "repos": [document(repo) for repo in found]})
        return
    if not found:
        output.say(f"{owner or 'this hub'} has no repositories")
        return
    rows = [
        (f"{r.owner}/{r.slug}", r.visibility, r.domain, output.when(r.created_at), r.description)
        for r in found
    ]
    output.table(["repository", "visibility", "domain", "created", "description"], rows)


def _all_repos(data: Path | None) -> list[Repository]:
    """The repositories of all users."""

    async def work(stores: Stores) -> list[Repo]:
        return await stores.repos.everywhere()

    # Late: with --hub, a command needs nothing of a hub.
    from infra.cli.direct import repository

    return [repository(repo) for repo in output.run(data, work)]


def _list_deleted(owner: str, *, json: bool, data: Path | None) -> None:
    if not owner and not remote.selected():
        output.fail("name the user whose deleted repositories to list")
    with api.opened(data, owner) as hub:
        owner = owner or hub.me().handle
        found = list(hub.deleted_repos())
    if json:
        output.document({"owner": owner, "repos": [document(repo) for repo in found]})
        return
    rows = [(f"{repo.owner}/{repo.slug}", output.when(repo.deleted_at)) for repo in found]
    output.table(["repository", "deleted"], rows)


@app.command()
def show(name: Name, json: Json = False, data: Data = None) -> None:
    """Show a repository: its settings, branches and members.

    Without --hub, also the last step of its gc. Only admins see the members.
    """
    owner, slug = output.name_of(name)
    with api.opened(data) as hub:
        repo = hub.repo(owner, slug)
        more: dict[str, Any] = {"branches": [asdict(one) for one in hub.branches(owner, slug)]}
        if repo.role == "admin":
            more["members"] = [asdict(member) for member in hub.members(owner, slug)]
        if not remote.selected():
            more["gc"] = _last_gc(name, data)
    if json:
        output.document(document(repo) | more)
        return
    rows = [(key, value) for key, value in document(repo).items() if key != "created_at"]
    rows.append(("created", output.when(repo.created_at)))
    if "gc" in more:
        gc = more["gc"]
        rows.append(("gc", f"{gc['step']}, {output.when(gc['at'])}" if gc else "never"))
    output.table(["", ""], rows)
    output.table(
        ["branch", "commit", "generation"], [list(branch.values()) for branch in more["branches"]]
    )
    if "members" in more:
        output.table(["member", "role"], [list(member.values()) for member in more["members"]])


def _last_gc(name: str, data: Path | None) -> dict[str, Any] | None:
    """The last step of the gc of a repository, None without one."""

    async def work(stores: Stores) -> dict[str, Any] | None:
        repo = await output.require(stores, name)
        progress = await stores.of(repo).scans.progress()
        return {"step": progress.step, "at": progress.at} if progress else None

    return output.run(data, work)


@app.command()
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Hide a repository at once, and free its name.

    `pieria repo undelete` restores it within 23 hours. `pieria purge` deletes its data later.
    """
    if not yes and json:
        output.fail(f"nothing was deleted: with --json, use --yes to delete {plain(name)}")
    if not yes and not typer.confirm(f"Delete {plain(name)}?", err=True):
        output.fail("nothing was deleted")
    owner, slug = output.name_of(name)
    with api.opened(data) as hub:
        repo = hub.repo(owner, slug)
        hub.delete_repo(owner, slug)
    if json:
        output.document(document(repo))
    else:
        output.say(
            f"deleted: {repo.owner}/{repo.slug}; `pieria repo undelete` restores it within 23 hours"
        )


app.command()(repo_branches.moves)
app.command()(repo_branches.restore_branch)
app.command()(repo_branches.delete_branch)
app.command()(repo_packs.bundle)
app.command()(repo_packs.repack)
app.command()(repo_members.member)
app.command()(repo_changes.edit)
app.command()(repo_changes.rename)
app.command()(repo_changes.undelete)
