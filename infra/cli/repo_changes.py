"""Commands that change a repository as a whole: edit, rename, undelete."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from infra.cli import api, output
from infra.cli.cli_error import CliError
from infra.cli.output import Data, Json, Name
from infra.client.errors import Conflict, NotFound
from infra.client.models import RepoChange, Repository, body_of
from shared.model import PortableNames, Visibility
from shared.protocol import repositories as protocol

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

    def change(self) -> RepoChange:
        """The new values. None for an attribute whose option is absent."""
        return RepoChange(
            visibility=self.visibility.value if self.visibility else None,
            description=self.description,
            default_branch=self.default_branch,
            portable_names=self.portable_names.value if self.portable_names else None,
        )


@output.with_options
def edit(options: Edit) -> None:
    """Change the visibility, the description, the default branch or the rule for names of a
    repository."""
    changes = body_of(options.change())
    if not changes:
        output.fail(
            "nothing to change: use --visibility, --description, --default-branch or"
            " --portable-names"
        )
    owner, slug = output.name_of(options.name)
    with api.opened(options.data) as hub:
        output.check_options(protocol.RepoChange, changes)
        repo = hub.change_repo(owner, slug, options.change())
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
    owner, old_slug = output.name_of(name)
    with api.opened(data) as hub:
        repo = hub.rename_repo(owner, old_slug, slug)
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
    owner, slug = output.name_of(name)
    with api.opened(data, owner) as hub:
        try:
            repo = hub.undelete_repo(slug, new_slug or None)
        except NotFound:
            raise CliError(
                f"no repository {name} was deleted within 23 hours:"
                f" `pieria repo list {owner} --deleted` shows those of {owner}"
            ) from None
        except Conflict:
            raise CliError(
                f"the name {owner}/{new_slug or slug} is in use: choose another with --as"
            ) from None
    if json:
        output.document(document(repo))
    else:
        output.say(f"restored: {repo.owner}/{repo.slug}, {repo.visibility}")


def document(repo: Repository) -> dict[str, Any]:
    """A repository as the API returns it, without the role of the caller."""
    return {name: value for name, value in asdict(repo).items() if name != "role"}
