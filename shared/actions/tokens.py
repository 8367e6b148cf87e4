"""Issue, list and revoke tokens."""

from dataclasses import dataclass

from shared import auth, names
from shared.errors import Forbidden, InvalidName, TokenNotFound
from shared.metadata.tokens import Issued, new_id
from shared.model import Bearer, Identity, Role
from shared.stores import Stores


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights of a token to issue.

    `repo` limits it to one repository, by its full name. `bearer` is None for the same as the token
    that it is issued with.
    """

    scope: Role
    repo: str | None
    bearer: Bearer | None


async def issue(
    stores: Stores, identity: Identity, lifetime_seconds: int, now: float
) -> tuple[Issued, str]:
    """Issue a token with this identity. Returns its record and the token.

    Claims the handle. Raises InvalidName or HandleTaken.
    """
    issued_at = int(now)
    issued = Issued(identity, issued_at, issued_at + lifetime_seconds)
    await stores.handles.claim(identity.subject)
    # Stored before it is returned, so that every issued token is in the list.
    await stores.tokens.put(issued)
    return issued, await sign(stores, identity, lifetime_seconds, now)


async def issue_for(
    stores: Stores, own: Identity, rights: Rights, lifetime_seconds: int, now: float
) -> tuple[Issued, str]:
    """Issue a token to the bearer of the token `own`, with at most the rights of that token.

    It stays valid when `own` is revoked. Raises Forbidden, and the errors of `issue`.

    Budget: 5 AWS calls, chain of 3 (POST tokens).
    """
    if not own.scope.allows(Role.ADMIN):
        raise Forbidden(
            "only a token of scope admin can issue tokens, and this one has scope"
            f" {own.scope.value}"
        )
    if own.repo and rights.repo != own.repo:
        raise Forbidden(
            f'this token is limited to {own.repo}, so a new one must be, too: send "repo":'
            f' "{own.repo}"'
        )
    if rights.repo is not None:
        _check_full_name(rights.repo)
    identity = Identity(
        own.subject, rights.scope, new_id(now), rights.repo, rights.bearer or own.bearer
    )
    return await issue(stores, identity, lifetime_seconds, now)


async def sign(stores: Stores, identity: Identity, lifetime_seconds: int, now: float) -> str:
    """Return a token for this identity that is valid from now on."""
    keys = await stores.signer.signing(now)
    return auth.issue(keys, identity, lifetime_seconds=lifetime_seconds, now=int(now))


async def listed(stores: Stores, own: Identity, limit: int, after: str | None) -> list[Issued]:
    """Return up to `limit` tokens of the bearer of `own`, newest first, from below the id `after`.

    Includes revoked tokens, and those that expired within a week. Raises Forbidden for a token that
    is limited to one repository.

    Budget: 3 AWS calls, chain of 2 (GET tokens).
    """
    if own.repo:
        raise Forbidden(f"this token is limited to {own.repo}: it cannot list tokens")
    return await stores.tokens.listed(own.subject, limit, after)


async def revoke(stores: Stores, own: Identity, token_id: str, now: int) -> None:
    """Revoke a token of the bearer of `own`. The next request with it is refused.

    Any token may revoke itself. Tokens that were issued with it stay valid.
    Raises Forbidden, InvalidName or TokenNotFound.

    Budget: 3 AWS calls, chain of 2 (DELETE tokens).
    """
    if token_id != own.token_id:
        if own.repo or not own.scope.allows(Role.ADMIN):
            raise Forbidden(
                "this needs a token of scope admin that is not limited to one repository"
            )
        if not names.is_repo_name(token_id):
            raise InvalidName("this is not the id of a token: GET /api/v1/tokens lists them")
    was_recorded = await stores.tokens.revoke(own.subject, token_id, now)
    if not was_recorded and token_id != own.token_id:
        raise TokenNotFound()


def _check_full_name(repo: str) -> None:
    owner, _, slug = repo.partition("/")
    if not (names.is_repo_name(owner) and names.is_repo_name(slug)):
        raise InvalidName(
            "send the full name of the repository, owner/slug, to limit a token to it"
        )
