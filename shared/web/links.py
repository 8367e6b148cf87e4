"""The URLs of the pages. Every part of a name is percent-encoded."""

from dataclasses import dataclass
from urllib.parse import quote, urlencode

from shared.model import Repo, Visibility


def owner(handle: str) -> str:
    """The page of a user's repositories."""
    return f"/{quote(handle, safe='')}"


def domain(author: str, slug: str) -> str:
    """The page of a domain."""
    return f"/domains/@{quote(author, safe='')}/{quote(slug, safe='')}"


@dataclass(frozen=True, slots=True)
class Links:
    """The URLs of one repository. `bytes_view` serves the bytes of its files."""

    base: str
    bytes_view: str = "raw"

    @classmethod
    def of(cls, repo: Repo) -> "Links":
        """The URLs of this repository.

        `raw` is for programs, and accepts no session. So the pages of a private repository use
        `file`.
        """
        base = f"/{quote(repo.owner, safe='')}/{quote(repo.slug, safe='')}"
        return cls(base, "file" if repo.visibility is Visibility.PRIVATE else "raw")

    def to_bytes(self, ref: str, path: str) -> str:
        """The URL of the bytes of a file."""
        return self.to(self.bytes_view, ref, path)

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
