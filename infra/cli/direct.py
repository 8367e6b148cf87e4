"""The hub as the commands of users see it, by its data: with the rights of the operator.

Each method executes the action of its request. A refusal is the error that the client of the API
raises, so that the commands handle one kind.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from infra.cli import hub, output
from infra.cli.cli_error import CliError
from infra.client import errors, models
from infra.client.models import body_of, parse
from shared import cursors, names
from shared.actions import branches, domains, members, moves, releases, repos, tokens, usage
from shared.codec import unpack_record
from shared.engines import selection
from shared.errors import ApiError
from shared.maintenance import usage as counting
from shared.metadata.tokens import new_id
from shared.model import Bearer, CommitAddress, Identity, PortableNames, Ref, Repo, Role, Visibility
from shared.protocol.releases import ListReleases
from shared.protocol.repositories import Repository
from shared.protocol.tokens import IssuedToken, Token
from shared.stores import RepoStores, Stores

OPERATOR = "pieria"
"""The user in the moves of branches that the operator made. The handle is reserved."""
PAGE = 100
FIRST_OF_SERVER = 500

T = TypeVar("T")
Page = Callable[[str | None], Awaitable[tuple[list[bytes], str | None]]]
"""Packed records after a cursor, and the cursor of the next page."""


@contextmanager
def opened(data: Path | None, caller: str) -> Iterator["Direct"]:
    """Open the data of the selected hub. Raises CliError if it cannot be reached."""
    with hub.opened(data), output.explaining_aws(), asyncio.Runner() as runner:
        stores = runner.run(selection.stores())
        try:
            yield Direct(runner, stores, caller)
        finally:
            runner.run(selection.close())


class Direct:
    """The methods of `infra.client.Client`, for the operator in the name of a user."""

    def __init__(self, runner: asyncio.Runner, stores: Stores, caller: str) -> None:
        self._runner = runner
        self._stores = stores
        self._caller = caller
        if caller:
            names.check_handle(caller)
            self._caller = runner.run(stores.handles.spelling(caller))

    def me(self) -> models.Me:
        """The user in whose name the operator acts. There is no token."""
        return models.Me(self._caller, "", "admin", None, "human")

    def usage(self) -> models.Usage:
        now = output.now()
        if self._stores.settings.data:
            # The counters of a hub on one machine are in the memory of its process.
            self._run(counting.recount(self._stores, self._caller, int(now)))
        report = self._run(usage.of_owner(self._stores, self._caller, now))
        return models.Usage(**report.model_dump(mode="json"))

    # ── Repositories ────────────────────────────────────────────────────────────────────────────

    def create_repo(self, new: models.NewRepo) -> models.Repository:
        """Also claims the handle of the owner if it is free."""
        wanted = Repo(
            owner=self._caller,
            slug=new.slug,
            visibility=Visibility(new.visibility),
            domain=new.domain,
            default_branch=new.default_branch,
            description=new.description,
            portable_names=PortableNames(new.portable_names),
        )
        made = repos.create(self._stores, wanted, Role.ADMIN, int(output.now()))
        return repository(self._run(made)[0])

    def repos(self, owner: str) -> Iterator[models.Repository]:
        """All repositories of the owner. Raises CliError if there is no such user."""
        handle = self._run(output.require_user(self._stores, owner))
        after: str | None = None
        while True:
            page, after = self._run(self._stores.repos.owned(handle, None, after))
            yield from (repository(repo) for repo, _ in page)
            if after is None:
                return

    def repo(self, owner: str, slug: str) -> models.Repository:
        return repository(self._repo(owner, slug).repo)

    def change_repo(self, owner: str, slug: str, change: models.RepoChange) -> models.Repository:
        return repository(self._run(repos.change(self._repo(owner, slug), body_of(change))))

    def rename_repo(self, owner: str, slug: str, new_slug: str) -> models.Repository:
        found = self._repo(owner, slug)
        renamed = repos.rename(found, found.repo.slug, new_slug, int(output.now()))
        return repository(self._run(renamed))

    def delete_repo(self, owner: str, slug: str) -> None:
        self._run(repos.delete(self._stores, self._repo(owner, slug).repo, int(output.now())))

    def deleted_repos(self) -> Iterator[models.DeletedRepository]:
        handle = self._run(output.require_user(self._stores, self._caller))
        found = self._run(repos.restorable(self._stores, handle, output.now()))
        for repo, deleted_at in reversed(found):
            document = Repository.of(repo, Role.ADMIN).model_dump(mode="json")
            yield parse(models.DeletedRepository, {**document, "deleted_at": deleted_at})

    def undelete_repo(self, slug: str, new_slug: str | None = None) -> models.Repository:
        restored = repos.undelete(self._stores, self._caller, slug, new_slug or slug, output.now())
        return repository(self._run(restored))

    # ── Branches ────────────────────────────────────────────────────────────────────────────────

    def branches(self, owner: str, slug: str) -> Iterator[models.Branch]:
        refs = self._run(self._repo(owner, slug).refs.all())
        return (_branch(ref) for ref in refs.values())

    def delete_branch(
        self, owner: str, slug: str, branch: str, *, leave_empty: bool = False
    ) -> None:
        repository = self._repo(owner, slug)
        deleted = branches.delete(
            repository, branch, leave_empty=leave_empty, by=OPERATOR, now=output.now()
        )
        self._run(deleted)

    def moves(self, owner: str, slug: str, branch: str) -> Iterator[models.Move]:
        repository = self._repo(owner, slug)
        cursor: str | None = ""
        is_known = False
        while cursor is not None:
            page = moves.page(repository, branch, cursor, PAGE, now=output.now())
            ref, made, cursor = self._run(page)
            is_known = is_known or ref is not None or bool(made)
            for move in made:
                before = _commit_id(move.before)
                after = _commit_id(move.after)
                yield models.Move(move.at / 1000, move.by, before, after, move.forced)
        if not is_known:
            raise CliError(
                f"{owner}/{slug} has no branch {branch!a}: `pieria repo show {owner}/{slug}` shows"
                " its branches"
            )

    def restore_branch(
        self, owner: str, slug: str, branch: str, to: str | None = None
    ) -> models.Branch:
        repository = self._repo(owner, slug)
        return _branch(
            self._run(branches.restore(repository, branch, to, by=OPERATOR, now=output.now()))
        )

    # ── Members ─────────────────────────────────────────────────────────────────────────────────

    def members(self, owner: str, slug: str) -> Iterator[models.Member]:
        found = self._run(members.all_members(self._repo(owner, slug)))
        return (models.Member(handle, role.value) for handle, role in found)

    def set_member(self, owner: str, slug: str, handle: str, role: models.Role) -> models.Member:
        spelled = self._run(members.set_role(self._repo(owner, slug), handle, Role(role)))
        return models.Member(spelled, role)

    def remove_member(self, owner: str, slug: str, handle: str) -> None:
        self._run(members.remove(self._repo(owner, slug), handle))

    # ── Releases ────────────────────────────────────────────────────────────────────────────────

    def releases(
        self, owner: str, slug: str, channel: str = "", *, include_drafts: bool = False
    ) -> Iterator[models.Release]:
        repository = self._repo(owner, slug)
        asked = output.check_options(ListReleases, {"channel": channel} if channel else {})

        def page(cursor: str | None) -> Awaitable[tuple[list[bytes], str | None]]:
            query = ListReleases(**asked, cursor=cursor or "")
            return releases.listed(repository, query, with_drafts=include_drafts)

        return self._records(page)

    def delete_release(self, owner: str, slug: str, tag: str) -> None:
        self._run(releases.retract(self._repo(owner, slug), tag, now=output.now()))

    # ── Tokens ──────────────────────────────────────────────────────────────────────────────────

    def issue_token(self, new: models.NewToken) -> models.IssuedToken:
        """Also claims the handle of the user if it is free."""
        now = output.now()
        limited_to = self._spelled(new.repo) if new.repo else None
        bearer = Bearer(new.bearer or Bearer.HUMAN)
        identity = Identity(self._caller, Role(new.scope), new_id(now), limited_to, bearer)
        made = tokens.issue(self._stores, identity, new.lifetime_seconds, now)
        issued, token = self._run(made)
        shown = IssuedToken(handle=self._caller, token=token, **Token.of(issued).model_dump())
        return parse(models.IssuedToken, shown.model_dump(mode="json"))

    def tokens(self) -> Iterator[models.Token]:
        """Raises CliError if there is no such user."""
        handle = self._run(output.require_user(self._stores, self._caller))
        for issued in self._run(self._stores.tokens.all(handle)):
            yield parse(models.Token, Token.of(issued).model_dump(mode="json"))

    def revoke_token(self, token_id: str) -> None:
        own = Identity(self._caller, Role.ADMIN, "")
        self._run(tokens.revoke(self._stores, own, token_id, int(output.now())))

    # ── Domains ─────────────────────────────────────────────────────────────────────────────────

    def domains(self) -> Iterator[models.Domain]:
        def page(cursor: str | None) -> Awaitable[tuple[list[bytes], str | None]]:
            return domains.listed(self._stores, PAGE, cursors.parse_after(cursor or "") or None)

        return (parse(models.Domain, record) for record in self._records(page))

    def domain(self, author: str, slug: str) -> models.Domain:
        return parse(models.Domain, self._run(domains.one(self._stores, f"@{author}", slug)))

    def _repo(self, owner: str, slug: str) -> RepoStores:
        """The stores of a repository. Raises CliError if there is none."""
        return self._stores.of(self._run(output.require(self._stores, f"{owner}/{slug}")))

    def _spelled(self, name: str) -> str:
        """The full name of a repository, with its owner in the claimed letter case."""
        owner, slug = output.full_name(name)
        return f"{self._run(self._stores.handles.spelling(owner))}/{slug}"

    def _records(self, page: Page) -> Iterator[dict[str, Any]]:
        """Yield the records of all pages."""
        cursor: str | None = ""
        while cursor is not None:
            records, cursor = self._run(page(cursor))
            yield from map(unpack_record, records)

    def _run(self, work: Awaitable[T]) -> T:
        """Run an action. Raises Refused if it refuses; a failure of the hub stays as it is."""

        async def awaited() -> T:
            return await work

        try:
            return self._runner.run(awaited())
        except ApiError as refusal:
            if refusal.status >= FIRST_OF_SERVER:
                raise
            document = {"code": refusal.code, "message": refusal.message}
            raise errors.refused(refusal.status, document) from None


def repository(repo: Repo) -> models.Repository:
    """A repository as the API returns it to an admin."""
    return parse(models.Repository, Repository.of(repo, Role.ADMIN).model_dump(mode="json"))


def _branch(ref: Ref) -> models.Branch:
    return models.Branch(ref.branch, ref.head.commit_id, ref.head.generation)


def _commit_id(address: CommitAddress | None) -> str | None:
    return address.commit_id if address else None
