"""Opens the stores on SQLite and a folder of files, for a hub on one machine.

    <folder>/hub.sqlite    the rows, and the list of the objects
    <folder>/objects/      the objects
    <folder>/users         locked by each process that has the folder open

Every event loop of the process shares one open database.
"""

import fcntl
import hashlib
import threading
from contextlib import AsyncExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from shared.engines import files, sqlite
from shared.engines.database import Database, MemoryDatabase
from shared.engines.files import FileBucket
from shared.engines.signed_urls import SignedUrls
from shared.engines.sqlite import SqliteTable
from shared.keyring import Keyring, Keyrings
from shared.settings import Settings
from shared.signing import Keys
from shared.stores import Stores

FILE = "hub.sqlite"
USERS = "users"

address: ContextVar[str] = ContextVar("address", default="")
"""The URL at which the client of the running request reaches the hub."""


@dataclass(slots=True)
class Engine:
    """The open database and folder of this process, and the number of their users."""

    database: Database
    bucket: FileBucket
    counters: SqliteTable
    lock: IO[str]
    users: int = 0

    def recover(self) -> None:
        """Finish a write that a crash interrupted, unless another process has the folder open.

        A file of that process may be half written, and must stay. A later start then recovers.
        """
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.bucket.recover()
        except BlockingIOError:
            return
        finally:
            fcntl.flock(self.lock, fcntl.LOCK_SH)

    def trouble(self) -> str:
        """Return why writes fail, after a check whether they do. Empty if they succeed."""
        return self.database.probe() or self.bucket.probe()

    def close(self) -> None:
        """Close the database, and unlock the folder."""
        self.database.close()
        self.lock.close()


_engines: dict[Path, Engine] = {}
_opening = threading.Lock()


def open_stores(settings: Settings, closer: AsyncExitStack) -> Stores:
    """Open the stores on the folder `settings.data`. `closer` closes them."""
    folder = Path(settings.data).resolve()
    engine = acquire(folder, settings.signing_keys)
    closer.callback(release, folder)

    async def read_keys() -> Keys:
        return settings.signing_keys

    async def read_client_secrets() -> Keys:
        return settings.client_secrets

    keyring = Keyring(read=read_keys, on_failure=lambda failure: None)
    clients = Keyring(read=read_client_secrets, on_failure=lambda failure: None)
    hub = SqliteTable(engine.database)
    keyrings = Keyrings(verifying=keyring, signing=keyring, clients=clients)
    return Stores.on(settings, keyrings, hub, engine.counters, engine.bucket)


def acquire(folder: Path, signing_keys: Keys) -> Engine:
    """Open the engine on a folder, or share the open one. `release` ends the use."""
    with _opening:
        engine = _engines.get(folder)
        if engine is None:
            engine = _engines[folder] = _open(folder, signing_keys)
        engine.users += 1
        return engine


def release(folder: Path) -> None:
    """End a use of the engine on a folder. The last one closes it."""
    with _opening:
        engine = _engines[folder]
        engine.users -= 1
        if not engine.users:
            engine.close()
            del _engines[folder]


def _open(folder: Path, signing_keys: Keys) -> Engine:
    files.make_folders(folder)
    (folder / USERS).touch(mode=0o600)
    lock = (folder / USERS).open("a")
    fcntl.flock(lock, fcntl.LOCK_SH)
    database = Database(folder / FILE, sqlite.SCHEMA + files.SCHEMA, sqlite.sweep)
    secret = hashlib.sha256(f"presigned {list(signing_keys.values())[-1:]}".encode()).digest()
    bucket = FileBucket(folder, database, SignedUrls(secret, address.get))
    counters = SqliteTable(MemoryDatabase(sqlite.SCHEMA, sqlite.sweep))
    return Engine(database, bucket, counters, lock)
