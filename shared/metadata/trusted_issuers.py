"""Trusted issuers: whose ID tokens a repository accepts in exchange for tokens of the hub."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from shared.metadata import attributes, keys
from shared.metadata.conditions import ROW_EXISTS
from shared.metadata.table import ConditionFailed, Query, Row, Table
from shared.model import RepoId, Role

ISSUERS = 20
"""The most trusted issuers of a repository."""
_ID_DIGITS = 16
_KIND = attributes.RowFormat("trusted issuer")


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """An issuer, and the exact values of claims that its ID tokens must have.

    `by` is the handle of the admin who registered it: its tokens belong to this user, so they have
    at most the user's present rights. `created_at`: epoch seconds.
    """

    issuer: str
    audience: str
    claims: Mapping[str, str]
    scope: Role
    by: str
    created_at: int

    @property
    def trust_id(self) -> str:
        """A hash of the content, so that a repeated registration changes nothing."""
        content = [self.issuer, self.audience, sorted(self.claims.items()), self.scope.value]
        return sha256(json.dumps([*content, self.by]).encode()).hexdigest()[:_ID_DIGITS]


@dataclass(frozen=True, slots=True)
class TrustedIssuers:
    """The rows of the trusted issuers of one repository."""

    table: Table
    repo_id: RepoId

    async def all(self) -> list[TrustedIssuer]:
        """Return all of them, in no particular order."""
        # A request that races with another may exceed the limit a little.
        page = await self.table.query(Query(keys.trusted_issuers(self.repo_id), limit=2 * ISSUERS))
        return [_trusted(row) for row in page.rows]

    async def put(self, trusted: TrustedIssuer) -> TrustedIssuer:
        """Store a trusted issuer. Returns it as it is stored, perhaps by an earlier request."""
        key = keys.trusted_issuer(self.repo_id, trusted.trust_id)
        try:
            await self.table.put_new(key, _row(trusted))
        except ConditionFailed as lost:
            return _trusted(lost.current())
        return trusted

    async def remove(self, trust_id: str) -> None:
        """Delete a trusted issuer. Raises ConditionFailed if it does not exist."""
        await self.table.delete(keys.trusted_issuer(self.repo_id, trust_id), ROW_EXISTS)


def _row(trusted: TrustedIssuer) -> Row:
    row: Row = {
        "issuer": trusted.issuer,
        "audience": trusted.audience,
        "claims": json.dumps(dict(sorted(trusted.claims.items()))),
        "scope": trusted.scope.value,
        "by": trusted.by,
        "created_at": trusted.created_at,
    }
    return _KIND.stamp(row)


def _trusted(row: Row) -> TrustedIssuer:
    """Decode a row. Raises Damaged."""
    try:
        claims = json.loads(attributes.text(row, "claims", _KIND))
    except ValueError:
        raise attributes.damaged(row, "claims", _KIND) from None
    if not isinstance(claims, dict):
        raise attributes.damaged(row, "claims", _KIND)
    return TrustedIssuer(
        attributes.text(row, "issuer", _KIND),
        attributes.text(row, "audience", _KIND),
        claims,
        attributes.choice(row, "scope", _KIND, Role),
        attributes.text(row, "by", _KIND),
        attributes.number(row, "created_at", _KIND),
    )
