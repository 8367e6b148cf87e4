"""Authorization: may the caller of a request do this with this repository?

authorize     a request about one repository
admit         a request about no repository in particular
admit_caller  the same, for a caller who needs a token

None of them knows HTTP. A caller is a token or a network address, and a repository is named by its
URL or by its id, so a route, a web page with a cookie and a tool call use the same functions.

A repository that is absent, deleted or hidden from the caller is refused with RepoNotFound, after
the same AWS calls. An owner who pushes to an absent repository creates it: `authorize` then returns
a repository that does not exist yet (`Repo.exists`).
"""

from dataclasses import dataclass, field, replace

from shared import auth, names
from shared.budget import Account
from shared.errors import Forbidden, RepoNotFound, Unauthorized
from shared.model import Identity, Repo, Role, Sees
from shared.ratelimit import LimitClass
from shared.stores import RepoStores, Stores
from shared.tasks import gather_all, gather_pair

Found = tuple[Repo | None, Role | None]
"""A repository, and the role that its owner gave to the caller."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The facts of a request about its caller. The token is not verified.

    `token` is None without a token. Requests without one are counted by `address`, the network
    address. `type` is the only accepted type of the token.
    """

    token: str | None
    address: str
    type: auth.Type = auth.ACCESS

    def required_token(self) -> str:
        """The token. Raises Unauthorized without one."""
        if self.token is None:
            raise Unauthorized("this needs a token; log in and send it as Authorization: Bearer")
        return self.token


@dataclass(frozen=True, slots=True)
class ByName:
    """A repository by the name in its URL."""

    owner: str
    slug: str


@dataclass(frozen=True, slots=True)
class ByAnyName(ByName):
    """The same. An administrator of the repository may also use a name from before a rename."""


@dataclass(frozen=True, slots=True)
class ById:
    """A repository by its id, as GET refs returns it."""

    repo_id: str


Target = ByName | ById


@dataclass(frozen=True, slots=True)
class Allowance:
    """The limits that a request is counted against, and its time (epoch seconds).

    `headers` are the reply headers with the remaining allowance. They are set when the request is
    counted, and so also for a request that is refused afterwards.
    """

    limit_class: LimitClass
    now: float
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Access:
    """An authorized request about a repository. `now`: its time in epoch seconds."""

    stores: Stores
    repo: Repo
    identity: Identity | None
    role: Role
    now: float
    sees: Sees

    @property
    def repository(self) -> RepoStores:
        """The repository and its stores."""
        return self.stores.of(self.repo)

    @property
    def by(self) -> str:
        """The handle of the caller; empty for a caller without a token."""
        if self.identity:
            return self.identity.subject
        return ""


@dataclass(frozen=True, slots=True)
class Visitor:
    """A request about no repository in particular. `now`: its time in epoch seconds."""

    stores: Stores
    identity: Identity | None
    now: float

    @property
    def by(self) -> str:
        """The handle of the caller; empty for a caller without a token."""
        if self.identity:
            return self.identity.subject
        return ""

    def role(self, repo: Repo, member: Role | None) -> Role | None:
        """The caller's role in a repository whose owner gave the caller the role `member`.

        None if the caller may not see the repository.
        """
        return auth.role(repo, self.identity, member)


@dataclass(frozen=True, slots=True)
class Caller(Visitor):
    """A visitor with a token."""

    identity: Identity


async def authorize(
    stores: Stores, credentials: Credentials, target: Target, needed: Role, allowance: Allowance
) -> Access:
    """Identify the caller, count the request, and find the repository with the caller's role.

    Raises Unauthorized, RateLimited, CostLimited or HubLimited; RepoNotFound for a repository that
    the caller may not see, and for an absent one; Forbidden if the caller may see it, but has less
    than the needed role.
    """
    if needed is not Role.READ:
        credentials.required_token()
    identity = await _identity(stores, credentials, allowance.now)
    account = _open_account(stores, credentials, identity, allowance)
    account.is_upload = needed is Role.WRITE and stores.quotas.has_limit
    look_up = _LookUp(stores, identity, account)
    found, _ = await gather_pair(look_up.first(target), account.hit())
    if isinstance(target, ByName):
        found = await look_up.again(target, found)
    access = _granted(stores, target, found, identity, account)
    if not access.role.allows(needed):
        name = f"{access.repo.owner}/{access.repo.slug}"
        raise Forbidden(
            f"this needs the right to {needed.value} {name}, and yours is to {access.role.value};"
            " ask its owner, or log in with a token of wider scope"
        )
    if needed is Role.ADMIN and not access.repo.exists:
        raise RepoNotFound()
    return access


async def admit(stores: Stores, credentials: Credentials, allowance: Allowance) -> Visitor:
    """Identify the caller and count the request.

    Raises Unauthorized for an invalid or revoked token, RateLimited, CostLimited or HubLimited.
    """
    identity = await _identity(stores, credentials, allowance.now)
    await _count(stores, credentials, identity, allowance)
    return Visitor(stores, identity, allowance.now)


async def admit_caller(stores: Stores, credentials: Credentials, allowance: Allowance) -> Caller:
    """Like `admit`. Also raises Unauthorized without a token."""
    identity = await _identify(stores, credentials, allowance.now)
    await _count(stores, credentials, identity, allowance)
    return Caller(stores, identity, allowance.now)


async def _identity(stores: Stores, credentials: Credentials, now: float) -> Identity | None:
    if credentials.token is None:
        return None  # without a read of the signing keys
    return await _identify(stores, credentials, now)


async def _identify(stores: Stores, credentials: Credentials, now: float) -> Identity:
    token = credentials.required_token()
    key_id = auth.key_id(token)
    if key_id:
        keys = await stores.keyring.verifying(key_id, now)
    else:
        keys = {}
    return auth.identify(keys, token, credentials.type)


async def _count(
    stores: Stores, credentials: Credentials, identity: Identity | None, allowance: Allowance
) -> None:
    """Count a request that looks up no repository."""
    account = _open_account(stores, credentials, identity, allowance)
    if identity:
        check = stores.tokens.check(identity, account.rows())
    else:
        check = account.read()
    await gather_all([account.hit(), check])
    account.admit()


def _open_account(
    stores: Stores, credentials: Credentials, identity: Identity | None, allowance: Allowance
) -> Account:
    if identity:
        subject = f"user:{identity.subject}"
    else:
        subject = f"address:{credentials.address}"
    account = stores.budget.open(allowance.limit_class, subject, allowance.now)
    account.left = allowance.headers
    return account


def _granted(
    stores: Stores, target: Target, found: Found, identity: Identity | None, account: Account
) -> Access:
    """Raises RepoNotFound, CostLimited or HubLimited."""
    account.admit()
    repo, member = found
    if repo and not repo.deleted:
        role = auth.role(repo, identity, member)
    else:
        role = None
    if repo is None or role is None:
        raise names.repo_not_found(target.owner) if isinstance(target, ByName) else RepoNotFound()
    # After the role: the limit of the owner would reveal that the repository exists.
    account.admit_to_repository()
    usage = account.usage(repo.owner)
    if usage:
        stores.quotas.learn(repo.owner, usage)
    return Access(stores, repo, identity, role, account.now, auth.sees(repo, identity, member))


@dataclass(frozen=True, slots=True)
class _LookUp:
    """The search for a repository on behalf of one caller."""

    stores: Stores
    identity: Identity | None
    account: Account

    async def first(self, target: Target) -> Found:
        """The repository that has this name or id."""
        if isinstance(target, ById):
            return await self.by_id(target.repo_id)
        return await self.by_name(target)

    async def again(self, name: ByName, found: Found) -> Found:
        """The result of the first look-up, or of the rules for a name without a repository."""
        if not self.is_visible(found) and not self.is_owner(name.owner):
            # For hidden and absent repositories alike, so that both cost the same calls.
            spelled = await self.stores.handles.spelling(name.owner)
            if spelled != name.owner:
                name = replace(name, owner=spelled)
                found = await self.by_name(name)
        repo, _ = found
        if repo is None:
            return self.to_create(name), None
        if repo.deleted and isinstance(name, ByAnyName):
            return await self.renamed(repo)
        return found

    async def by_name(self, name: ByName) -> Found:
        """The repository of this name, also a deleted one."""
        if not (names.is_repo_name(name.owner) and names.is_repo_name(name.slug)):
            return None, None
        rows = self.account.rows(name.owner)
        return await self.stores.repos.look_up(name.owner, name.slug, self.identity, rows)

    async def by_id(self, repo_id: str) -> Found:
        """The repository of this id, under its present name."""
        if not names.is_id(repo_id):
            return None, None
        # An absent repository costs the same calls as a private one.
        owner, slug = await self.stores.repos.called(repo_id) or ("", "")
        rows = self.account.rows(owner)
        repo, member = await self.stores.repos.look_up(owner, slug, self.identity, rows)
        if repo and repo.repo_id == repo_id:
            return (repo, member)
        return (None, None)

    async def renamed(self, old: Repo) -> Found:
        """The repository that had this name before a rename, for its administrators."""
        present = await self.stores.repos.by_id(old.repo_id)
        if present is None or present.deleted:
            return None, None
        found = await self.stores.repos.look_up(present.owner, present.slug, self.identity)
        if self.role(found) is Role.ADMIN:
            return found
        return (None, None)

    def to_create(self, name: ByName) -> Repo | None:
        """The repository that a push of its owner would create, if the hub allows that."""
        if not self.stores.settings.push_to_create or not self.is_owner(name.owner):
            return None
        if not (names.is_handle(name.owner) and names.is_repo_name(name.slug)):
            return None
        # To a token of another repository, an absent and a private one must look alike.
        if self.identity:
            limited_to = self.identity.repo
        else:
            limited_to = None
        if limited_to not in (None, f"{name.owner}/{name.slug}"):
            return None
        return Repo(name.owner, name.slug)

    def is_owner(self, owner: str) -> bool:
        """Whether the caller has this handle."""
        return self.identity is not None and self.identity.subject == owner

    def is_visible(self, found: Found) -> bool:
        """Whether the caller may see the repository."""
        repo, _ = found
        return repo is not None and not repo.deleted and self.role(found) is not None

    def role(self, found: Found) -> Role | None:
        """The caller's role in the repository."""
        repo, member = found
        if repo:
            return auth.role(repo, self.identity, member)
        return None
