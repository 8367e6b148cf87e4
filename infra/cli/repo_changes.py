"""Commands that change a repository as a whole: edit, rename, undelete."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from infra.cli import output
from infra.cli.cli_error import CliError
from infra.cli.output import Data, Json, Name
from shared.actions import repos
from shared.errors import RepoExists, RepoNotFound
from shared.model import PortableNames, Repo, Role, Visibility
from shared.protocol.repositories import RepoChange, Repository
from shared.stores import Stores

PORTABLE_NAMES = (
    "on: refuse names that Windows or macOS cannot store."
    " distinct: refuse names that they cannot distinguish. off: warn."
)


@dataclass(frozen=True)
class Edit:
    """The options of `pieria repo edit`."""

    name: Name
    visibility: Annotated[Visibility | None, typer.Option(help="Who may read it.")] = None
    description: Annotated[str | None, typer.Option(help="One line of text.")] = None
    default_branch: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="The branch that a clone checks out.")
    ] = None
    portable_names: Annotated[PortableNames | None, typer.Option(help=PORTABLE_NAMES)] = None
    json: Json = False
    data: Data = None

    def changes(self) -> dict[str, str]:
        """The new values of the attributes that have an option."""
        values = {
            "visibility": self.visibility,
            "description": self.description,
            "default_branch": self.default_branch,
            "portable_names": self.portable_names,
        }
        return {name: str(value) for name, value in values.items() if value is not None}


@output.with_options
def edit(options: Edit) -> None:
    """Change the visibility, the description, the default branch or the rule for names of a
    repository."""
    changes = options.changes()
    if not changes:
        output.fail(
            "nothing to change: use --visibility, --description, --default-branch or"
            " --portable-names"
        )

    async def work(stores: Stores) -> Repo:
        repo = await output.require(stores, options.name)
        output.check_options(RepoChange, changes)
        return await repos.change(stores.of(repo), changes)

    repo = output.run(options.data, work)
    if options.json:
        output.document(document(repo))
    else:
        changed = ", ".join(f"{option} {value}" for option, value in changes.items())
        output.say(f"changed: {repo.owner}/{repo.slug}: {changed}")


def rename(
    name: Name,
    slug: Annotated[str, typer.Argument(metavar="SLUG", help="The new name, without the owner.")],
    json: Json = False,
    data: Data = None,
) -> None:
    """Give a repository another name in its URL. The old name is free then.

    A token that is limited to the old name is not valid for the new name: issue another one.
    """
    now = int(output.now())

    async def work(stores: Stores) -> Repo:
        repo = await output.require(stores, name)
        return await repos.rename(stores.of(repo), repo.slug, slug, now)

    repo = output.run(data, work)
    if json:
        output.document(document(repo))
    else:
        output.say(f"renamed: {name} is {repo.owner}/{repo.slug} now")


def undelete(
    name: Name,
    new_slug: Annotated[
        str, typer.Option("--as", metavar="SLUG", help="Another name, if this one is in use.")
    ] = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """Bring a deleted repository back, with its branches and members, for 23 hours."""

    async def work(stores: Stores) -> Repo:
        owner, slug = output.full_name(name)
        try:
            return await repos.undelete(stores, owner, slug, new_slug or slug, output.now())
        except RepoNotFound:
            raise CliError(
                f"no repository {name} was deleted within 23 hours:"
                f" `pieria repo list {owner} --deleted` shows those of {owner}"
            ) from None
        except RepoExists:
            raise CliError(
                f"the name {owner}/{new_slug or slug} is in use: choose another with --as"
            ) from None

    repo = output.run(data, work)
    if json:
        output.document(document(repo))
    else:
        output.say(f"restored: {repo.owner}/{repo.slug}, {repo.visibility}")


def document(repo: Repo) -> dict[str, Any]:
    """A repository as the API returns it, without the role of a caller."""
    return Repository.of(repo, Role.ADMIN).model_dump(mode="json", exclude={"role"})
