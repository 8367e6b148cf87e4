"""The data folder of a hub on one machine: its permissions, its lock, and its signing keys.

Only the owner of the folder can read it. `lock` is held (flock) while a hub serves the folder, and
has the address of this hub. `signing-keys.json` has the keys that sign the tokens.
"""

# Annotations stay text: this module is imported before the check of the version of Python.
from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
from pathlib import Path

ANOTHER = "as `make serve DATA=FOLDER` or with --data"
"""The options of both ways to start a hub, since either may be in use."""
SECRET_BYTES = 32
"""The minimum for HS256 (RFC 7518, 3.2)."""
DATABASE = "hub.sqlite"
JOURNAL = "journal"
"""The data of a hub that an earlier version of `make serve` wrote."""
KEYS = "signing-keys.json"
LOCK = "lock"


class Unable(Exception):
    """The hub cannot start. The message is one line with the next step."""


class InUse(Unable):
    """Another process uses the folder."""


def make_private(folder: Path) -> None:
    """Create the folder, or remove other users' access to it if it is empty or has a hub.

    Raises Unable for a folder of another user, and for one that is shared and has other files.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise Unable(f"{folder} belongs to another user: choose another folder, {ANOTHER}")
    if stat.S_IMODE(found.st_mode) & 0o077 == 0:
        return
    if any(folder.iterdir()) and not has_hub(folder):
        raise Unable(
            f"{folder} is open to other users and holds other files: choose another folder,"
            f" {ANOTHER}, or chmod 700"
        )
    folder.chmod(0o700)


def has_hub(folder: Path) -> bool:
    """Return whether the folder has the data of a hub, of this version or an earlier one."""
    return any((folder / name).is_file() for name in (DATABASE, JOURNAL))


def locked(folder: Path) -> int:
    """Lock the folder for a hub. Returns the file descriptor that holds the lock. Raises InUse."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise InUse(
            f"{folder} is in use by another hub: stop it, or choose another folder, {ANOTHER}"
        ) from None
    os.ftruncate(lock, 0)
    return lock


def write_address(lock: int, url: str) -> None:
    """Write the address of the running hub into its lock file."""
    os.pwrite(lock, url.encode(), 0)


def address_of(folder: Path) -> str:
    """Return the address of the hub that serves the folder. Empty if no hub runs."""
    try:
        with (folder / LOCK).open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return lock.read()
    except OSError:
        return ""
    return ""


def signing_keys(folder: Path) -> dict[str, str]:
    """Return the keys of the folder: key id → secret, oldest first. The first start makes one."""
    path = folder / KEYS
    if not path.exists():
        _write_private(path, json.dumps({"local": secrets.token_hex(SECRET_BYTES)}) + "\n")
    try:
        keys = json.loads(path.read_text())
    except ValueError:
        keys = None
    are_keys = isinstance(keys, dict) and keys and all(_is_secret(one) for one in keys.values())
    if not are_keys:
        raise Unable(
            f"{path} is not a JSON object of signing keys: correct it, or remove it and log in"
            " again"
        )
    found: dict[str, str] = keys
    return found


def _is_secret(value: object) -> bool:
    return isinstance(value, str) and len(value) >= SECRET_BYTES


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read.

    After a crash it is complete, or it does not exist.
    """
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
