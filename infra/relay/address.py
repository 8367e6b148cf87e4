"""The URL of a hub or of a repository, and the token for it."""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

LOOPBACK = ("127.0.0.1", "localhost", "::1")
IDENTITY_FILE = Path.home() / ".muse" / "identity.toml"
"""Where the stock client stores the tokens of `muse auth login`: one table for each host."""
TOKEN_VARIABLE = "PIERIA_TOKEN"  # noqa: S105 - the name of a variable
REPOSITORY_SEGMENTS = 2


class Unable(Exception):
    """The relay cannot serve the request. The message is one line and names the next step."""


@dataclass(frozen=True)
class Address:
    """The address of a hub: scheme, host with port, and a path prefix, without a slash at the
    end.
    """

    url: str

    @property
    def host(self) -> str:
        """Host and port in lower case: the key of the client's identity file."""
        return urlsplit(self.url).netloc.lower()

    @property
    def is_loopback(self) -> bool:
        """Whether the hub runs on this machine."""
        return urlsplit(self.url).hostname in LOOPBACK


def hub_address(url: str) -> Address:
    """The address of a hub.

    Raises Unable for an invalid URL, and for http to another machine.
    """
    try:
        parts = urlsplit(url.strip())
        host = parts.hostname
        _ = parts.port  # raises ValueError for a malformed port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise Unable(f"{url!a} is not the URL of a hub: write it as https://hub.example.org")
    if "@" in parts.netloc:
        raise Unable(
            "the URL contains a user or a password: leave it out, and log in with `muse auth login`"
        )
    address = Address(f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}")
    if parts.scheme == "http" and not address.is_loopback:
        raise Unable(
            f"http:// would send tokens and files unencrypted to {parts.netloc}: use https://"
        )
    return address


def repository_address(url: str) -> tuple[Address, str]:
    """The address of the hub and the path of the repository, `/owner/slug`. Raises Unable."""
    whole = hub_address(url).url
    prefix, *segments = whole.rsplit("/", REPOSITORY_SEGMENTS)
    is_complete = len(segments) == REPOSITORY_SEGMENTS and all(segments) and urlsplit(prefix).netloc
    if not is_complete:
        raise Unable(
            f"{url!a} does not name a repository: write it as https://hub.example.org/owner/slug"
        )
    return Address(prefix), "/" + "/".join(segments)


def proxy_of(scheme: str, host: str) -> str | None:
    """The proxy of the environment (`HTTPS_PROXY`, `NO_PROXY`) for a host; None for this
    machine.
    """
    if host in LOOPBACK or proxy_bypass(host):
        return None
    return getproxies().get(scheme)


class Token:
    """The token of the user for one hub: from a file, else from the environment, else from the
    client's login.

    It is read for each request, so that a new login counts without a restart.
    """

    def __init__(self, address: Address, file: Path | None, variable: str = TOKEN_VARIABLE) -> None:
        self._address = address
        self._file = file
        self._variable = variable

    def read(self) -> str:
        """The token, or an empty string. Raises Unable if the named file cannot be read."""
        if self._file:
            return self._of_file(self._file)
        return os.environ.get(self._variable, "").strip() or self._of_client()

    @property
    def source(self) -> str:
        """The source of the token, for the user; empty without a token."""
        if not self.read():
            return ""
        if self._file:
            return str(self._file)
        if os.environ.get(self._variable, "").strip():
            return self._variable
        return "muse auth login"

    def _of_file(self, file: Path) -> str:
        try:
            return _checked(file.read_text(), f"the file {file}")
        except (OSError, UnicodeDecodeError):
            raise Unable(
                f"cannot read a token from {file}: check the name and the permissions"
            ) from None

    def _of_client(self) -> str:
        """The token of the client's login.

        Empty if the file is absent or damaged, as for the client.
        """
        try:
            identities = tomllib.loads(IDENTITY_FILE.read_text())
        except (OSError, ValueError):
            return ""
        identity = identities.get(self._address.host)
        if isinstance(identity, dict):
            token = identity.get("token")
        else:
            token = None
        if isinstance(token, str):
            return token.strip()
        return ""


def _checked(text: str, source: str) -> str:
    """A token as it is sent in a header. Raises Unable for a text that cannot be one."""
    token = text.strip()
    if not token or not token.isascii() or any(character.isspace() for character in token):
        raise Unable(f"{source} does not contain a token: write the token alone, on one line")
    return token
