"""The URLs of the pages. Every part of a name is percent-encoded."""

from dataclasses import dataclass
from urllib.parse import quote, urlencode

from shared.model import Repo


def owner(handle: str) -> str:
    """The page of a user's repositories."""
    return f"/{quote(handle, safe='')}"


def domain(author: str, slug: str) -> str:
    """The page of a domain."""
    return f"/domains/@{quote(author, safe='')}/{quote(slug, safe='')}"


@dataclass(frozen=True, slots=True)
class Links:
    """The URLs of one repository."""

    base: str

    @classmethod
    def of(cls, repo: Repo) -> "Links":
        """The URLs of this repository."""
        return cls(f"/{quote(repo.owner, safe='')}/{quote(repo.slug, safe='')}")

    def to(self, view: str, *parts: str, **query: str | None) -> str:
        """The URL of a view: `to("blob", "main", "a b.txt")`.

        Query fields without a value are left out.
        """
        path = "/".join(quote(part, safe="/") for part in parts if part)
        asked = urlencode({name: value for name, value in query.items() if value})
        if path:
            url = f"{self.base}/{view}/{path}"
        else:
            url = f"{self.base}/{view}"
        return f"{url}?{asked}" if asked else url
