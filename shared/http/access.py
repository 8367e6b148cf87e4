"""FastAPI dependencies that authorize a request before its body is read."""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from shared import auth, names
from shared.aws_clients import stores
from shared.budget import Account
from shared.errors import Forbidden, RepoNotFound, Unauthorized
from shared.middleware import COUNTED
from shared.model import Identity, Repo, Role, Sees
from shared.ratelimit import LimitClass
from shared.stores import Stores
from shared.tasks import gather_all, gather_pair

Found = tuple[Repo | None, Role | None]


Dependency = Callable[[Request, str, str], Coroutine[Any, Any, "Access"]]


@dataclass(frozen=True, slots=True)
class Access:
    """A request that was let in: about which repository, from whom, with what rights, and when
    (epoch seconds).
    """

    stores: Stores
    repo: Repo
    identity: Identity | None
    role: Role
    now: float
    sees: Sees

    @property
    def by(self) -> str:
        """The handle of who sent it; empty for anybody."""
        return self.identity.subject if self.identity else ""


@dataclass(frozen=True, slots=True)
class Visitor:
    """A request about no repository in particular: who sent it, if he said so, and when (epoch
    seconds).
    """

    stores: Stores
    identity: Identity | None
    now: float

    def role(self, repo: Repo, member: Role | None) -> Role | None:
        """What he may do to a repository whose owner gave him this role. None: not even see it."""
        return auth.role(repo, self.identity, member)


@dataclass(frozen=True, slots=True)
class Caller(Visitor):
    """The same, of somebody with a token."""

    identity: Identity

    async def sign(self, identity: Identity, lifetime_seconds: int) -> str:
        """A token that says this of its bearer, from now on."""
        keys = await self.stores.keyring.signing(self.now)
        return auth.issue(keys, identity, lifetime_seconds=lifetime_seconds, now=int(self.now))


def may_read(limit_class: LimitClass, *, token_needed: bool = False) -> Dependency:
    """A dependency: the caller may read the repository, or is told that there is none."""
    return _may(limit_class, Role.READ, token_needed=token_needed)


def may_read_by_id(
    limit_class: LimitClass,
) -> Callable[[Request, str], Coroutine[Any, Any, Access]]:
    """A dependency: the same for a repository that the query names by its id, `repo_id`."""

    async def access(request: Request, repo_id: str = "") -> Access:
        now = time.time()
        opened = await stores()
        identity = await _identify(opened, request, now)
        account = _account(opened, request, limit_class, identity, now)
        found, _ = await gather_pair(
            _look_up_by_id(opened, repo_id, identity, account), account.hit()
        )
        return _granted(opened, found, identity, account)

    return access


def may_write(limit_class: LimitClass) -> Dependency:
    """A dependency: the caller may push.

    Raises Forbidden for those who may only read, else RepoNotFound.
    """
    return _may(limit_class, Role.WRITE, token_needed=True)


def may_admin(limit_class: LimitClass, *, even_renamed: bool = False) -> Dependency:
    """A dependency: the caller may change the repository itself and say who may do what with it.

    It has to be there: this never creates one. With `even_renamed` it is found under an earlier
    name, too.
    """
    return _may(limit_class, Role.ADMIN, token_needed=True, even_renamed=even_renamed)


def identified(limit_class: LimitClass) -> Callable[[Request], Coroutine[Any, Any, Caller]]:
    """A dependency for URLs without a repository: the caller has a token, and it has not been
    revoked.
    """

    async def caller(request: Request) -> Caller:
        visitor = await _visitor(request, limit_class, token_needed=True)
        return Caller(visitor.stores, _needed(visitor.identity), visitor.now)

    return caller


def visiting(limit_class: LimitClass) -> Callable[[Request], Coroutine[Any, Any, Visitor]]:
    """A dependency for URLs without a repository: anybody, but nobody with a token that is not
    good.
    """

    async def visitor(request: Request) -> Visitor:
        return await _visitor(request, limit_class, token_needed=False)

    return visitor


def _may(
    limit_class: LimitClass, needed: Role, *, token_needed: bool, even_renamed: bool = False
) -> Dependency:
    async def access(request: Request, owner: str, slug: str) -> Access:
        granted = await _access(
            request, owner, slug, limit_class, token_needed=token_needed, even_renamed=even_renamed
        )
        if not granted.role.allows(needed):
            raise Forbidden(
                f"this needs the right to {needed.value} {owner}/{slug}, and yours is to {granted.role.value};"
                " ask its owner, or log in with a token of wider scope"
            )
        if needed is Role.ADMIN and not granted.repo.exists:
            raise RepoNotFound()
        return granted

    return access


async def _visitor(request: Request, limit_class: LimitClass, *, token_needed: bool) -> Visitor:
    now = time.time()
    opened = await stores()
    identity = await _identify(opened, request, now)
    if token_needed:
        _needed(identity)
    account = _account(opened, request, limit_class, identity, now)
    check = opened.tokens.check(identity, account.rows()) if identity else account.read()
    await gather_all([account.hit(), check])
    account.admit()
    return Visitor(opened, identity, now)


async def _identify(opened: Stores, request: Request, now: float) -> Identity | None:
    """Who asks. The signing keys are not read for a request without a token."""
    header = request.headers.get("authorization")
    key_id = auth.key_id(header)
    return auth.identify(await opened.keyring.verifying(key_id, now) if key_id else {}, header)


def _needed(identity: Identity | None) -> Identity:
    if identity is None:
        raise Unauthorized("this needs a token; log in and send it as Authorization: Bearer")
    return identity


async def _access(
    request: Request,
    owner: str,
    slug: str,
    limit_class: LimitClass,
    *,
    token_needed: bool,
    even_renamed: bool,
) -> Access:
    now = time.time()
    opened = await stores()
    identity = await _identify(opened, request, now)
    if token_needed:
        _needed(identity)
    account = _account(opened, request, limit_class, identity, now)
    looked_up, _ = await gather_pair(
        _look_up(opened, owner, slug, identity, account), account.hit()
    )
    if not _is_visible(looked_up, identity) and (identity is None or identity.subject != owner):
        # For private and absent repositories alike: the number of calls must not tell them apart.
        spelled = await opened.handles.spelling(owner)
        if spelled != owner:
            owner = spelled
            looked_up = await _look_up(opened, owner, slug, identity, account)
    found, member = looked_up
    if found is None and opened.settings.push_to_create and identity and identity.subject == owner:
        # Not to a token for another repository: to it, what is absent and what is private have to
        # look alike.
        fits = (
            identity.repo in ("", f"{owner}/{slug}")
            and names.is_handle(owner)
            and names.is_repo_name(slug)
        )
        found = Repo(owner, slug) if fits else None
    if found and found.deleted and even_renamed:
        found, member = await _look_up_renamed(opened, found, identity)
    return _granted(opened, (found, member), identity, account)


def _granted(
    opened: Stores, looked_up: Found, identity: Identity | None, account: Account
) -> Access:
    """Raises RepoNotFound for what is absent, deleted, or not for this caller to see, and
    CostLimited or HubLimited.
    """
    account.admit()
    found, member = looked_up
    if found is None or found.deleted:
        raise RepoNotFound()
    role = auth.role(found, identity, member)
    if role is None:
        raise RepoNotFound()
    account.admit_to_repository()  # after the role: the owner's limit must not tell a stranger that it is there
    return Access(opened, found, identity, role, account.now, auth.sees(found, identity, member))


async def _look_up(
    opened: Stores, owner: str, slug: str, identity: Identity | None, account: Account
) -> Found:
    if not (names.is_repo_name(owner) and names.is_repo_name(slug)):
        return None, None
    return await opened.repos.look_up(owner, slug, identity, account.rows(owner))


def _is_visible(looked_up: Found, identity: Identity | None) -> bool:
    found, member = looked_up
    return (
        found is not None and not found.deleted and auth.role(found, identity, member) is not None
    )


async def _look_up_renamed(opened: Stores, repo: Repo, identity: Identity | None) -> Found:
    """What is called otherwise by now, for those who could have renamed it; to others, it is
    gone.
    """
    present = await opened.repos.by_id(repo.repo_id)
    if present is None or present.deleted:
        return None, None
    found, member = await opened.repos.look_up(present.owner, present.slug, identity)
    return (
        (found, member)
        if found and auth.role(found, identity, member) is Role.ADMIN
        else (None, None)
    )


async def _look_up_by_id(
    opened: Stores, repo_id: str, identity: Identity | None, account: Account
) -> Found:
    if not names.is_id(repo_id):
        return None, None
    owner, slug = await opened.repos.called(repo_id)
    repo, role = await opened.repos.look_up(owner, slug, identity, account.rows(owner))
    return (repo, role) if repo and repo.repo_id == repo_id else (None, None)


def _account(
    opened: Stores, request: Request, limit_class: LimitClass, identity: Identity | None, now: float
) -> Account:
    """Who pays for the request.

    The edge adds to the reply what the counter leaves of the allowance.
    """
    account = opened.budget.open(limit_class, _subject(request, identity), now)
    request.scope[COUNTED] = account.left
    return account


def _subject(request: Request, identity: Identity | None) -> str:
    if identity:
        return f"user:{identity.subject}"
    # API Gateway's own word for the address, through Mangum; behind uvicorn the peer of the socket.
    return f"address:{request.client.host if request.client else 'unknown'}"
