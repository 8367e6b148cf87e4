"""A client of the API of a hub. An installation publishes it as `pieria.client`.

    with Client("https://hub.example.org", token) as hub:
        for repo in hub.repos("alice"):
            print(repo.slug, repo.visibility)

docs/client.md describes it. The package imports no other module of pieria.
"""

from .client import Client
from .errors import (
    Conflict,
    Failed,
    Forbidden,
    HubError,
    Invalid,
    NotFound,
    RateLimited,
    Refused,
    Unauthorized,
    UnexpectedReply,
    Unreachable,
)
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
    Token,
)

__all__ = [
    "Branch",
    "Client",
    "Conflict",
    "DeletedRepository",
    "Domain",
    "Failed",
    "Forbidden",
    "HubError",
    "Invalid",
    "IssuedToken",
    "Me",
    "Member",
    "Move",
    "NewRepo",
    "NewToken",
    "NotFound",
    "RateLimited",
    "Refused",
    "Release",
    "RepoChange",
    "Repository",
    "Token",
    "Unauthorized",
    "UnexpectedReply",
    "Unreachable",
]
