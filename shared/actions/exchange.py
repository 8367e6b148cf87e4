"""The exchange of an ID token for a token of the hub (RFC 8693).

The token of the hub is for one repository and for ten minutes. It belongs to the admin who
registered the issuer, so it has no right that this user does not have.

An absent repository, a hidden one, and a repository that does not trust the token are refused alike
after the same AWS calls. Only the issuer of a registered row is ever contacted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared import names
from shared.actions import tokens
from shared.errors import InvalidScope, InvalidTarget, InvalidTokenRequest
from shared.metadata.tokens import new_id
from shared.metadata.trusted_issuers import TrustedIssuer, TrustedIssuers
from shared.model import Bearer, Identity, RepoId, Role
from shared.openid.id_tokens import InvalidIdToken, unverified, verified
from shared.openid.issuers import Issuers
from shared.stores import Stores

LIFETIME_SECONDS = 600
NO_REPOSITORY = RepoId("00000000-0000-0000-0000-000000000000")
"""Its rows are read for an absent repository, so that it costs the same calls as a hidden one."""


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A token of the hub, and its scope."""

    token: str
    scope: Role


async def exchange(
    stores: Stores, issuers: Issuers, id_token: str, repo: str, scope: Role | None, now: float
) -> Exchanged:
    """Return a token for the repository `owner/slug`. `scope`: None for the registered one.

    Raises InvalidTokenRequest for a text that is no usable ID token, InvalidTarget if the
    repository does not trust it, InvalidScope for more than the registered scope; IssuerInvalid or
    Unavailable if the keys of the issuer cannot be read.

    Budget: 7 AWS calls, chain of 5 (POST exchange).
    """
    try:
        issuer = unverified(id_token).issuer
    except InvalidIdToken as error:
        raise InvalidTokenRequest(f"the subject_token cannot be used: {error}") from None
    trusted = [one for one in await _trusted(stores, repo) if one.issuer == issuer]
    found = await _matching(issuers, id_token, trusted, now)
    if not found:
        raise InvalidTarget()
    widest = max(found, key=lambda one: one.scope.allows(Role.WRITE))
    granted = scope or widest.scope
    if not widest.scope.allows(granted):
        raise InvalidScope(widest.scope.value)
    identity = Identity(widest.by, granted, new_id(now), repo, Bearer.AGENT)
    _, token = await tokens.issue(stores, identity, LIFETIME_SECONDS, now)
    return Exchanged(token, granted)


async def _trusted(stores: Stores, repo: str) -> list[TrustedIssuer]:
    """The trusted issuers of the repository with this name; none if there is no such repository."""
    owner, _, slug = repo.partition("/")
    if not (names.is_repo_name(owner) and names.is_repo_name(slug)):
        raise InvalidTokenRequest("name the repository as owner/slug")
    found, _ = await stores.repos.look_up(owner, slug, None)
    repo_id = found.repo_id if found and not found.deleted else NO_REPOSITORY
    return await TrustedIssuers(stores.hub, repo_id).all()


async def _matching(
    issuers: Issuers, id_token: str, trusted: list[TrustedIssuer], now: float
) -> list[TrustedIssuer]:
    """Those of these trusted issuers, all with one URL, that the token satisfies."""
    found = []
    for audience in sorted({one.audience for one in trusted}):
        try:
            claims = await verified(issuers, id_token, trusted[0].issuer, audience, now)
        except InvalidIdToken:
            continue
        found += [one for one in trusted if one.audience == audience and _has(claims, one.claims)]
    return found


def _has(claims: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Whether the claims have exactly these values. A number or a list equals no text."""
    return all(name in claims and claims[name] == value for name, value in wanted.items())
