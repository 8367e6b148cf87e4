"""FastAPI dependencies that authorize a request before its body is read.

They name a repository by the `{owner}/{slug}` of the path, or by the `repo_id` of the query. A
route that learns the repository elsewhere calls `shared.authorization` with `credentials` and
`allowance`.
"""

import time
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request

from shared import auth
from shared.authorization import (
    Access,
    Allowance,
    ByAnyName,
    ById,
    ByName,
    Caller,
    Credentials,
    Target,
    Visitor,
    admit,
    admit_caller,
    authorize,
)
from shared.engines.selection import stores
from shared.middleware import COUNTED
from shared.model import Role
from shared.ratelimit import LimitClass

ByPath = Callable[[Request, str, str], Coroutine[Any, Any, Access]]
ByQuery = Callable[[Request, str], Coroutine[Any, Any, Access]]


def credentials(request: Request) -> Credentials:
    """The bearer token of the request, and the address of its client."""
    # Behind Mangum, the address is the one that API Gateway saw; behind uvicorn, the socket's.
    if request.client:
        address = request.client.host
    else:
        address = "unknown"
    return Credentials(auth.bearer_token(request.headers.get("authorization")), address)


CredentialsOf = Callable[[Request], Credentials]
"""Finds the credentials in a request. The web pages also accept the session of a browser."""


def may_read(limit_class: LimitClass, by: CredentialsOf = credentials) -> ByPath:
    """The caller may read the repository."""

    async def access(request: Request, owner: str, slug: str) -> Access:
        return await _authorize(request, ByName(owner, slug), Role.READ, limit_class, by)

    return access


def may_read_by_id(limit_class: LimitClass) -> ByQuery:
    """The caller may read the repository with the `repo_id` of the query."""

    async def access(request: Request, repo_id: str = "") -> Access:
        return await _authorize(request, ById(repo_id), Role.READ, limit_class)

    return access


def may_read_with_token(limit_class: LimitClass) -> ByPath:
    """The caller has a token, and may read the repository."""

    async def access(request: Request, owner: str, slug: str) -> Access:
        credentials(request).required_token()
        return await _authorize(request, ByName(owner, slug), Role.READ, limit_class)

    return access


def may_write(limit_class: LimitClass, by: CredentialsOf = credentials) -> ByPath:
    """The caller may push to the repository."""

    async def access(request: Request, owner: str, slug: str) -> Access:
        return await _authorize(request, ByName(owner, slug), Role.WRITE, limit_class, by)

    return access


def may_admin(limit_class: LimitClass, by: CredentialsOf = credentials) -> ByPath:
    """The caller may change the repository and the roles in it. It exists."""

    async def access(request: Request, owner: str, slug: str) -> Access:
        return await _authorize(request, ByName(owner, slug), Role.ADMIN, limit_class, by)

    return access


def may_admin_by_any_name(limit_class: LimitClass) -> ByPath:
    """The same. The path may have a name of the repository from before a rename."""

    async def access(request: Request, owner: str, slug: str) -> Access:
        return await _authorize(request, ByAnyName(owner, slug), Role.ADMIN, limit_class)

    return access


def identified(
    limit_class: LimitClass, by: CredentialsOf = credentials
) -> Callable[[Request], Coroutine[Any, Any, Caller]]:
    """The caller has a valid token, in a request about no repository."""

    async def caller(request: Request) -> Caller:
        counted = allowance(request, limit_class)
        return await admit_caller(await stores(), by(request), counted)

    return caller


def visiting(
    limit_class: LimitClass, by: CredentialsOf = credentials
) -> Callable[[Request], Coroutine[Any, Any, Visitor]]:
    """The caller has a valid token or none, in a request about no repository."""

    async def visitor(request: Request) -> Visitor:
        counted = allowance(request, limit_class)
        return await admit(await stores(), by(request), counted)

    return visitor


def allowance(request: Request, limit_class: LimitClass) -> Allowance:
    """The allowance of the request. The middleware adds its headers to the reply."""
    opened = Allowance(limit_class, time.time())
    request.scope[COUNTED] = opened.headers
    return opened


async def _authorize(
    request: Request,
    target: Target,
    needed: Role,
    limit_class: LimitClass,
    by: CredentialsOf = credentials,
) -> Access:
    counted = allowance(request, limit_class)
    return await authorize(await stores(), by(request), target, needed, counted)
