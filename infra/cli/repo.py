"""repo: create, list, show and delete; the other commands are in the modules repo_*."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.cli import output, repo_branches, repo_changes, repo_members, repo_packs
from infra.cli.commands import plain
from infra.cli.output import Data, Json, Name
from infra.cli.repo_branches import branch_document
from infra.cli.repo_changes import PORTABLE_NAMES, document
from infra.cli.repo_members import member_documents
from shared.actions import members, repos
from shared.model import PortableNames, Repo, Role, Visibility
from shared.protocol.repositories import NewRepo
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
    now = int(output.now())

    async def work(stores: Stores) -> Repo:
        given, slug = output.full_name(options.name)
        owner = await stores.handles.spelling(given)
        asked = NewRepo.model_validate(
            output.check_options(
                NewRepo,
                {
                    "slug": slug,
                    "domain": options.domain,
                    "description": options.description,
                    "default_branch": options.default_branch,
                },
            )
        )
        wanted = Repo(
            owner=owner,
            slug=slug,
            visibility=Visibility.PRIVATE if options.private else Visibility.PUBLIC,
            domain=asked.domain,
            default_branch=asked.default_branch,
            description=asked.description,
            portable_names=options.portable_names,
        )
        repo, _ = await repos.create(stores, wanted, Role.ADMIN, now)
        return repo

    repo = output.run(options.data, work)
    if options.json:
        output.document(document(repo))
    else:
        output.say(f"created: {repo.owner}/{repo.slug}, {repo.visibility}")


@app.command("list")
def list_(
    owner: Annotated[
        str, typer.Argument(metavar="HANDLE", help="Of this user. Default: of all users.")
    ] = "",
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Deleted ones that are not yet purged.")
    ] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """List the repositories of a user, or of the whole hub, private ones included."""
    if deleted:
        _list_deleted(owner, json=json, data=data)
        return

    async def work(stores: Stores) -> list[Repo]:
        if not owner:
            return await stores.repos.everywhere()
        handle = await output.require_user(stores, owner)
        found: list[Repo] = []
        after: str | None = None
        while True:
            page, after = await stores.repos.owned(handle, None, after)
            found += [repo for repo, _ in page]
            if after is None:
                return found

    found = output.run(data, work)
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


def _list_deleted(owner: str, *, json: bool, data: Path | None) -> None:
    if not owner:
        output.fail("name the user whose deleted repositories to list")

    async def work(stores: Stores) -> list[tuple[Repo, int]]:
        return await stores.repos.deleted(await output.require_user(stores, owner))

    found = output.run(data, work)
    if json:
        repos = [document(repo) | {"deleted_at": deleted_at} for repo, deleted_at in found]
        output.document({"owner": owner, "repos": repos})
        return
    rows = [(f"{repo.owner}/{repo.slug}", output.when(at)) for repo, at in found]
    output.table(["repository", "deleted"], rows)


@app.command()
def show(name: Name, json: Json = False, data: Data = None) -> None:
    """Show a repository: its settings, branches, members, and the last step of its gc."""

    async def work(stores: Stores) -> tuple[Repo, dict[str, Any]]:
        repo = await output.require(stores, name)
        refs = await stores.of(repo).refs.all()
        found = await members.all_members(stores.of(repo))
        progress = await stores.of(repo).scans.progress()
        return repo, {
            "branches": [branch_document(ref) for ref in refs.values()],
            "members": member_documents(found),
            "gc": {"step": progress.step, "at": progress.at} if progress else None,
        }

    repo, more = output.run(data, work)
    if json:
        output.document(document(repo) | more)
        return
    rows = [(key, value) for key, value in document(repo).items() if key != "created_at"]
    rows.append(("created", output.when(repo.created_at)))
    rows.append(
        ("gc", f"{more['gc']['step']}, {output.when(more['gc']['at'])}" if more["gc"] else "never")
    )
    output.table(["", ""], rows)
    output.table(
        ["branch", "commit", "generation"], [list(branch.values()) for branch in more["branches"]]
    )
    output.table(["member", "role"], [list(member.values()) for member in more["members"]])


@app.command()
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Hide a repository at once, and free its name. A day later `pieria purge` deletes its data."""
    if not yes and json:
        output.fail(f"nothing was deleted: with --json, use --yes to delete {plain(name)}")
    if not yes and not typer.confirm(f"Delete {plain(name)}? It cannot be undone", err=True):
        output.fail("nothing was deleted")
    now = int(output.now())

    async def work(stores: Stores) -> Repo:
        repo = await output.require(stores, name)
        await repos.delete(stores, repo, now)
        return repo

    repo = output.run(data, work)
    if json:
        output.document(document(repo) | {"deleted_at": now})
    else:
        output.say(f"deleted: {repo.owner}/{repo.slug}; `pieria purge` will delete its data")


app.command()(repo_branches.moves)
app.command()(repo_branches.restore_branch)
app.command()(repo_branches.delete_branch)
app.command()(repo_packs.bundle)
app.command()(repo_packs.repack)
app.command()(repo_members.member)
app.command()(repo_changes.edit)
app.command()(repo_changes.rename)
app.command()(repo_changes.undelete)
