"""The requests of the API, one method for each."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from .models import (
    Branch,
    DeletedRepository,
    Domain,
    IssuedToken,
    Me,
    Member,
    Move,
    NewRepo,
    NewToken,
    Release,
    RepoChange,
    Repository,
    Role,
    Token,
    Usage,
    body_of,
    parse,
)
from .transport import Query, Transport

PAGE = 100
"""The longest page of the API."""
TIMEOUT_SECONDS = 30.0


class Client:
    """A hub, as the user of a token sees it. Without a token: as everyone sees it.

    Every method raises HubError. An iterator requests a page when it needs one. One thread at a
    time uses a client.
    """

    def __init__(
        self, url: str, token: str = "", *, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._transport = Transport(url.rstrip("/"), token, timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def me(self) -> Me:
        """Return the user of the token, and its rights."""
        return parse(Me, self._transport.send("GET", "/api/v1/me"))

    def usage(self) -> Usage:
        """Return the usage of the user, the limit, and the cost of two days."""
        return parse(Usage, self._transport.send("GET", "/api/v1/usage"))

    # ── Repositories ────────────────────────────────────────────────────────────────────────────

    def create_repo(self, new: NewRepo) -> Repository:
        """Create an empty repository of the user."""
        return parse(Repository, self._transport.send("POST", "/api/v1/repos", body=body_of(new)))

    def repos(self, owner: str) -> Iterator[Repository]:
        """Yield the repositories of an owner that the user may read, by name."""
        for one in self._pages(f"/api/v1/users/{_quoted(owner)}/repos", "repos"):
            yield parse(Repository, one)

    def repo(self, owner: str, slug: str) -> Repository:
        """Return a repository."""
        return parse(Repository, self._transport.send("GET", _repo(owner, slug)))

    def change_repo(self, owner: str, slug: str, change: RepoChange) -> Repository:
        """Change a repository, and return it."""
        sent = self._transport.send("PATCH", _repo(owner, slug), body=body_of(change))
        return parse(Repository, sent)

    def rename_repo(self, owner: str, slug: str, new_slug: str) -> Repository:
        """Give a repository another name in its URL, and return it."""
        path = f"{_repo(owner, slug)}/rename"
        return parse(Repository, self._transport.send("POST", path, body={"slug": new_slug}))

    def delete_repo(self, owner: str, slug: str) -> None:
        """Delete a repository. Its owner can restore it within a day."""
        self._transport.send("DELETE", _repo(owner, slug))

    def deleted_repos(self) -> Iterator[DeletedRepository]:
        """Yield the deleted repositories that the user can restore, the last deletion first."""
        for one in self._pages("/api/v1/deleted", "repos"):
            yield parse(DeletedRepository, one)

    def undelete_repo(self, slug: str, new_slug: str | None = None) -> Repository:
        """Restore a deleted repository of the user, under its old name or another one."""
        body = {"slug": slug, "new_slug": new_slug}
        return parse(Repository, self._transport.send("POST", "/api/v1/deleted", body=body))

    # ── Branches ────────────────────────────────────────────────────────────────────────────────

    def branches(self, owner: str, slug: str) -> Iterator[Branch]:
        """Yield the branches by name, each with its head."""
        for one in self._pages(f"{_repo(owner, slug)}/branches", "branches"):
            yield parse(Branch, one)

    def delete_branch(
        self, owner: str, slug: str, branch: str, *, leave_empty: bool = False
    ) -> None:
        """Delete a branch. With `leave_empty`, also the only one of the repository."""
        query: Query = {"branch": branch, "leave_empty": leave_empty}
        self._transport.send("DELETE", f"{_repo(owner, slug)}/branches", query=query)

    def moves(self, owner: str, slug: str, branch: str) -> Iterator[Move]:
        """Yield the moves of a branch in the last 30 days, the last one first."""
        for one in self._pages(f"{_repo(owner, slug)}/moves", "moves", {"branch": branch}):
            yield parse(Move, one)

    def restore_branch(self, owner: str, slug: str, branch: str, to: str | None = None) -> Branch:
        """Set a branch to one of its earlier heads. Without `to`: to that before its last move."""
        path = f"{_repo(owner, slug)}/restore"
        body = {"branch": branch, "to": to}
        return parse(Branch, self._transport.send("POST", path, body=body))

    # ── Members ─────────────────────────────────────────────────────────────────────────────────

    def members(self, owner: str, slug: str) -> Iterator[Member]:
        """Yield the members by handle. The owner is not a member."""
        for one in self._pages(f"{_repo(owner, slug)}/members", "members"):
            yield parse(Member, one)

    def set_member(self, owner: str, slug: str, handle: str, role: Role) -> Member:
        """Give a user a role. It replaces the role that the user has."""
        path = f"{_repo(owner, slug)}/members/{_quoted(handle)}"
        return parse(Member, self._transport.send("PUT", path, body={"role": role}))

    def remove_member(self, owner: str, slug: str, handle: str) -> None:
        """Remove a member."""
        self._transport.send("DELETE", f"{_repo(owner, slug)}/members/{_quoted(handle)}")

    # ── Releases ────────────────────────────────────────────────────────────────────────────────

    def releases(
        self, owner: str, slug: str, channel: str = "", *, include_drafts: bool = False
    ) -> Iterator[Release]:
        """Yield the releases, the newest first: of one channel, or of all."""
        query: dict[str, str | int | bool] = {"include_drafts": include_drafts}
        if channel:
            query["channel"] = channel
        yield from self._pages(f"/{_quoted(owner)}/{_quoted(slug)}/releases", "releases", query)

    def delete_release(self, owner: str, slug: str, tag: str) -> None:
        """Retract a release. Its tag is free again."""
        self._transport.send("DELETE", f"/{_quoted(owner)}/{_quoted(slug)}/releases/{quote(tag)}")

    # ── Tokens ──────────────────────────────────────────────────────────────────────────────────

    def issue_token(self, new: NewToken) -> IssuedToken:
        """Issue a token to the user, with at most the rights of the token of this client."""
        sent = self._transport.send("POST", "/api/v1/tokens", body=body_of(new))
        return parse(IssuedToken, sent)

    def tokens(self) -> Iterator[Token]:
        """Yield the tokens of the user, the newest first. Includes revoked ones, and those that
        expired within a week."""
        for one in self._pages("/api/v1/tokens", "tokens"):
            yield parse(Token, one)

    def revoke_token(self, token_id: str) -> None:
        """Revoke a token of the user. The next request with it is refused."""
        self._transport.send("DELETE", f"/api/v1/tokens/{_quoted(token_id)}")

    # ── Domains ─────────────────────────────────────────────────────────────────────────────────

    def domains(self) -> Iterator[Domain]:
        """Yield the published domains by author and name."""
        for one in self._pages("/api/v1/domains", "domains"):
            yield parse(Domain, one)

    def domain(self, author: str, slug: str) -> Domain:
        """Return a domain."""
        path = f"/api/v1/domains/@{_quoted(author)}/{_quoted(slug)}"
        return parse(Domain, self._transport.send("GET", path))

    def _pages(self, path: str, name: str, query: Query | None = None) -> Iterator[dict[str, Any]]:
        """Yield the entries of a list, page after page."""
        asked = {**(query or {}), "limit": PAGE}
        while True:
            page = self._transport.send("GET", path, query=asked)
            yield from page[name]
            cursor = page.get("next_cursor")
            if not cursor:
                return
            asked["cursor"] = cursor


def _repo(owner: str, slug: str) -> str:
    return f"/api/v1/repos/{_quoted(owner)}/{_quoted(slug)}"


def _quoted(text: str) -> str:
    """A text as one segment of a path."""
    return quote(text, safe="")
