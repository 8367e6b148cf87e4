"""Trusted issuers of a repository: list, register and remove them.

A program with an ID token of such an issuer exchanges it for a token of the hub, see `exchange`.
"""

import re
from collections.abc import Mapping

from shared.errors import TooLarge, TrustedIssuerNotFound, Unprocessable
from shared.metadata.table import ConditionFailed
from shared.metadata.trusted_issuers import ISSUERS, TrustedIssuer, TrustedIssuers
from shared.model import Role
from shared.openid.web import Web
from shared.stores import RepoStores

PINNING = (
    "sub repository repository_id project_path project_id pipeline_id oidc.circleci.com/project-id"
).split()
"""The claims of known issuers that name one project. A public issuer signs tokens for everyone, so
the others, such as a branch, would admit the projects of strangers."""
CLAIMS = 10
NAME_CHARACTERS = 100
VALUE_CHARACTERS = 500
OF_THE_HUB = ("iss", "aud", "exp", "iat", "nbf")
"""The claims that the hub verifies itself."""
_TRUST_ID = re.compile("[0-9a-f]{16}")


def of(repository: RepoStores) -> TrustedIssuers:
    """The trusted issuers of a repository."""
    return TrustedIssuers(repository.stores.hub, repository.repo_id)


async def listed(repository: RepoStores) -> list[TrustedIssuer]:
    """Return the trusted issuers, the oldest first.

    Budget: 3 AWS calls, chain of 2 (GET trusted issuers).
    """
    found = await of(repository).all()
    return sorted(found, key=lambda one: (one.created_at, one.trust_id))


async def register(repository: RepoStores, wanted: TrustedIssuer) -> TrustedIssuer:
    """Trust an issuer from now on. A repeated request changes nothing.

    Raises Unprocessable for an issuer or claims that would admit too much, and TooLarge.

    Budget: 4 AWS calls, chain of 3 (POST trusted issuers).
    """
    Web(allows_local=repository.stores.settings.local_issuers).check(wanted.issuer)
    if "?" in wanted.issuer:
        raise Unprocessable("the URL of an issuer has no query: use its exact `iss`")
    if wanted.scope is Role.ADMIN:
        raise Unprocessable("the scope is read or write: an admin could issue lasting tokens")
    if not 0 < len(wanted.audience) <= VALUE_CHARACTERS:
        raise Unprocessable(f"the audience has 1 to {VALUE_CHARACTERS} characters")
    _check_claims(wanted.claims)
    trusted = of(repository)
    present = await trusted.all()
    is_new = wanted.trust_id not in {one.trust_id for one in present}
    if is_new and len(present) >= ISSUERS:
        raise TooLarge(f"a repository trusts {ISSUERS} issuers at most; remove one first")
    return await trusted.put(wanted)


async def remove(repository: RepoStores, trust_id: str) -> None:
    """Trust an issuer no longer. Tokens that it was exchanged for expire within minutes.

    Raises TrustedIssuerNotFound.

    Budget: 3 AWS calls, chain of 2 (DELETE trusted issuer).
    """
    if not _TRUST_ID.fullmatch(trust_id):
        raise TrustedIssuerNotFound()
    try:
        await of(repository).remove(trust_id)
    except ConditionFailed:
        raise TrustedIssuerNotFound() from None


def _check_claims(claims: Mapping[str, str]) -> None:
    if not 0 < len(claims) <= CLAIMS:
        raise Unprocessable(f"name 1 to {CLAIMS} claims with their exact values")
    for name, value in claims.items():
        if not 0 < len(name) <= NAME_CHARACTERS or not 0 < len(value) <= VALUE_CHARACTERS:
            raise Unprocessable(
                f"a claim has a name of up to {NAME_CHARACTERS} characters and a value of up to"
                f" {VALUE_CHARACTERS}"
            )
        if name in OF_THE_HUB:
            raise Unprocessable(f"the hub verifies {', '.join(OF_THE_HUB)} itself; leave them out")
    if not set(claims) & set(PINNING):
        raise Unprocessable(
            "name a claim that belongs to one project, so that no other project of the issuer is"
            f" trusted: {', '.join(PINNING)}"
        )
