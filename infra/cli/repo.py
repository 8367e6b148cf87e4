"""repo: create, list, show, delete, bundle, repack; moves of branches, and members."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.cli import output, repo_changes
from infra.cli.cli_error import Problem
from infra.cli.commands import plain
from infra.cli.output import Data, Json, Name
from infra.cli.repo_changes import PORTABLE_NAMES, document
from shared import names
from shared.actions import branches
from shared.actions import moves as moving
from shared.errors import RepoExists
from shared.limits import Limits
from shared.maintenance import prebuilt_clones
from shared.maintenance import repack as repacking
from shared.maintenance.prebuilt_clones import Made
from shared.maintenance.repack import Repacked
from shared.model import CommitAddress, Move, PortableNames, Ref, Repo, Role, Visibility
from shared.progress import OnProgress
from shared.protocol.repositories import NewRepo
from shared.stores import Stores

PAGE = 100
OPERATOR = "pieria"
"""The user in the moves of branches that the operator made. The handle is reserved."""

WHY_LEFT = {
    "large": f"of {Limits().small_pack_bytes >> 20} MiB or more",
    "young": "younger than a day",
    "unnamed": "that no row points to (gc deletes them)",
    "ambiguous": "with an item that has other bytes in another pack",
    "few": "too few to combine",
}

app = output.noun("Repositories, their branches and their members.")


@app.command()
def create(
    name: Name,
    private: Annotated[
        bool, typer.Option("--private", help="Only its owner and its members may read it.")
    ] = False,
    description: Annotated[str, typer.Option(help="One line of text.")] = "",
    default_branch: Annotated[
        str, typer.Option(help="The branch that a clone checks out.")
    ] = "main",
    domain: Annotated[str, typer.Option(help="The kind of its content: code, midi, …")] = "code",
    portable_names: Annotated[PortableNames, typer.Option(help=PORTABLE_NAMES)] = PortableNames.ON,
    json: Json = False,
    data: Data = None,
) -> None:
    """Create an empty repository. Claims the handle of its owner if it is free."""
    now = int(output.now())

    async def work(stores: Stores) -> Repo:
        given, slug = output.full_name(name)
        owner = await stores.handles.spelling(given)
        asked = NewRepo.model_validate(
            output.check_options(
                NewRepo,
                {
                    "slug": slug,
                    "domain": domain,
                    "description": description,
                    "default_branch": default_branch,
                },
            )
        )
        wanted = Repo(
            owner=names.check_handle(owner),
            slug=names.check_slug(slug),
            visibility=Visibility.PRIVATE if private else Visibility.PUBLIC,
            domain=asked.domain,
            default_branch=names.check_default_branch(asked.default_branch),
            description=asked.description,
            portable_names=portable_names,
        )
        repo = await stores.repos.create(wanted, now)
        if repo is None:
            raise RepoExists(owner, slug)
        return repo

    repo = output.run(data, work)
    if json:
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
        _list_deleted(owner, json, data)
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


def _list_deleted(owner: str, json: bool, data: Path | None) -> None:
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
        members = await _members(stores, repo)
        progress = await stores.of(repo).scans.progress()
        return repo, {
            "branches": [_branch(ref) for ref in refs.values()],
            "members": [{"handle": handle, "role": role.value} for handle, role in members],
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
        await stores.repos.delete(repo, now)
        return repo

    repo = output.run(data, work)
    if json:
        output.document(document(repo) | {"deleted_at": now})
    else:
        output.say(f"deleted: {repo.owner}/{repo.slug}; `pieria purge` will delete its data")


@app.command()
def moves(
    name: Name,
    branch: Annotated[str, typer.Argument(help="Also a deleted one.")],
    json: Json = False,
    data: Data = None,
) -> None:
    """List the moves of a branch in the last 30 days, newest first."""
    now = output.now()

    async def work(stores: Stores) -> list[Move]:
        repo = await output.require(stores, name)
        made: list[Move] = []
        cursor: str | None = ""
        while cursor is not None:
            ref, page, cursor = await moving.page(stores.of(repo), branch, cursor, PAGE, now=now)
            made += page
        if ref is None and not made:
            raise Problem(
                f"{name} has no branch {branch!a}: `pieria repo show {name}` shows its branches"
            )
        return made

    made = output.run(data, work)
    if json:
        output.document({"branch": branch, "moves": [_move(move) for move in made]})
        return
    rows = [
        (
            output.when(m.at / 1000),
            m.by,
            "forced" if m.forced else "",
            _id(m.before) or "–",
            _id(m.after) or "–",
        )
        for m in made
    ]
    output.table(["when", "by", "", "from", "to"], rows)


@app.command()
def restore_branch(
    name: Name,
    branch: Annotated[str, typer.Argument(help="Also a deleted one.")],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="COMMIT", help="One of its heads within 30 days. Default: before the last move."
        ),
    ] = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Set a branch to one of its earlier heads.

    Undoes a forced push or a deletion, and can be undone itself.
    """
    now = output.now()

    async def work(stores: Stores) -> Ref:
        repo = await output.require(stores, name)
        return await branches.restore(stores.of(repo), branch, to, by=OPERATOR, now=now)

    ref = output.run(data, work)
    if json:
        output.document(_branch(ref))
    else:
        output.say(f"restored: {ref.branch} is at {ref.head.commit_id}")


@app.command()
def delete_branch(
    name: Name,
    branch: Annotated[str, typer.Argument(help="The branch.")],
    leave_empty: Annotated[
        bool,
        typer.Option(
            "--leave-empty", help="Also if it is the only branch, so that the repository is empty."
        ),
    ] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Delete a branch. `pieria repo restore-branch` restores it within 30 days."""
    now = output.now()

    async def work(stores: Stores) -> None:
        repo = await output.require(stores, name)
        await branches.delete(
            stores.of(repo), branch, leave_empty=leave_empty, by=OPERATOR, now=now
        )

    output.run(data, work)
    if json:
        output.document({"deleted": branch})
    else:
        output.say(f"deleted: {branch}; `pieria repo restore-branch` restores it within 30 days")


@app.command()
def bundle(name: Name, json: Json = False, data: Data = None) -> None:
    """Prebuild the answer to a clone.

    Run it from a timer for popular repositories. gc deletes outdated bundles.
    """

    async def work(stores: Stores, bar: OnProgress) -> Made:
        return await prebuilt_clones.make(stores.of(await output.require(stores, name)), output.now)

    left = "the clones are served as before; run it again"
    made = output.run_long(data, f"bundling {name}", work, left)
    one = made.prebuilt
    if json:
        about = (
            {"name": one.name, "bytes": one.size, "made_at": one.made_at}
            if one
            else {"why_not": made.why_not}
        )
        output.document({"repo": name, "is_new": made.is_new, **about})
    elif one:
        state = "made" if made.is_new else "there already, and whole"
        held = f"{one.commits.count} commits and {one.objects.count} objects"
        output.say(f"{name}: a bundle of {held} is {state} ({output.size(one.size)})")
    else:
        output.say(f"{name}: no bundle, since {made.why_not}")


@app.command()
def repack(
    name: Name,
    fold: Annotated[bool, typer.Option("--fold", help="Do it. Otherwise only count.")] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Combine the packs of small pushes into few larger ones, so that clones cost less.

    Pushes, fetches and reads continue. A gc that is under way starts over, and the next one deletes
    the old packs. Run it again after an interruption.
    """

    async def work(stores: Stores, bar: OnProgress) -> Repacked:
        repo = await output.require(stores, name)
        return await repacking.repack(
            stores.of(repo), output.now, dry_run=not fold, on_progress=bar
        )

    left = "every pack is still readable; run it again to continue"
    done = output.run_long(data, f"repacking {name}", work, left)
    if json:
        output.document({"repo": name, "dry_run": not fold, **asdict(done)})
        return
    would = "" if fold else "would have "
    output.say(
        f"{name}: {would}folded {done.packs} packs ({output.size(done.bytes)}) into {done.into},"
        f" and {would}changed {done.rows} rows"
    )
    skipped = [f"{count} {WHY_LEFT[why]}" for why, count in done.left.items() if count]
    output.say(f"packs that stay as they are: {', '.join(skipped) or 'none'}")
    if done.packs:
        output.say("next: " + ("a new gc deletes the old packs" if fold else "`--fold` does it"))


@app.command()
def member(
    name: Name,
    handle: Annotated[
        str, typer.Argument(metavar="HANDLE", help="The user whose role to set or to remove.")
    ] = "",
    role: Annotated[Role | None, typer.Option(help="The new role. It replaces any other.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the member.")] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """List the members of a repository. With a handle, set or remove the role of that user."""
    if bool(handle) != (role is not None or remove) or (role is not None and remove):
        output.fail(
            "give a handle with either --role or --remove, or no handle to list the members"
        )

    async def work(stores: Stores) -> tuple[Repo, list[tuple[str, Role]]]:
        repo = await output.require(stores, name)
        if handle:
            await _set_member(stores, repo, names.check_handle(handle), role)
        return repo, await _members(stores, repo)

    repo, found = output.run(data, work)
    if json:
        members = [{"handle": handle, "role": role.value} for handle, role in found]
        output.document({"owner": repo.owner, "slug": repo.slug, "members": members})
    else:
        output.table(["member", "role"], found)


async def _set_member(stores: Stores, repo: Repo, handle: str, role: Role | None) -> None:
    spelled = await stores.handles.spelling(handle)
    if spelled.casefold() == repo.owner.casefold():
        raise Problem(
            f"{repo.owner} owns {repo.owner}/{repo.slug}: the owner is not a member, and cannot be"
            " removed"
        )
    if role is None and spelled not in dict(await _members(stores, repo)):
        raise Problem(f"{spelled} is not a member of {repo.owner}/{repo.slug}: nothing was removed")
    if role is None:
        await stores.repos.remove_member(repo, spelled)
    else:
        await stores.repos.set_member(repo, spelled, role)


async def _members(stores: Stores, repo: Repo) -> list[tuple[str, Role]]:
    found: list[tuple[str, Role]] = []
    while True:
        page = await stores.repos.members(repo, PAGE, found[-1][0] if found else None)
        found += page
        if len(page) < PAGE:
            return found


def _branch(ref: Ref) -> dict[str, Any]:
    return {
        "branch": ref.branch,
        "commit_id": ref.head.commit_id,
        "generation": ref.head.generation,
    }


def _move(move: Move) -> dict[str, Any]:
    ends = {"before": _id(move.before), "after": _id(move.after)}
    return {"at": move.at / 1000, "by": move.by, **ends, "forced": move.forced}


def _id(address: CommitAddress | None) -> str | None:
    return address.commit_id if address else None


app.command("edit")(repo_changes.edit)
app.command("rename")(repo_changes.rename)
app.command("undelete")(repo_changes.undelete)
