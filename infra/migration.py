"""Migrates the data folder of an earlier version of `make serve` to SQLite and files.

    journal             the old data
    building/           the new store while it is filled; the next start begins again
    built/              the complete new store; the next start moves it into the folder
    journal.migrated    the old data after the migration

The hub renames `building` to `built` when all data is on disk. A crash at any point therefore
leaves the old data or the complete new data.
"""

import base64
import json
import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from infra import data_folder, journal
from infra.aws_request import Request
from infra.data_folder import DATABASE, JOURNAL, Unable
from infra.environment import NAMES
from infra.journal import Unreadable
from shared.engines import files, items, sqlite
from shared.metadata.conditions import Row

log = logging.getLogger(__name__)

MIGRATED = "journal.migrated"
_BUILDING = "building"
_BUILT = "built"
_LEFTOVERS = ("hub.json", "journal.new")
"""Files of the earlier version that have no use any more."""

_TABLE = NAMES["HubTable"]
_BUCKET = NAMES["Bucket"]


def migrate(folder: Path) -> None:
    """Migrate the folder if it has old data. Call it while the folder is locked.

    Raises Unable if the old data cannot be read, or if the disk has not enough space.
    """
    try:
        if not (folder / _BUILT).exists():
            if (folder / DATABASE).exists() or not (folder / JOURNAL).exists():
                return
            _build(folder)
        _move_into_place(folder)
    except Unreadable as error:
        raise Unable(str(error)) from None
    except OSError as error:
        shutil.rmtree(folder / _BUILDING, ignore_errors=True)
        size = (folder / JOURNAL).stat().st_size >> 20
        raise Unable(
            f"cannot migrate {folder / JOURNAL} ({error.strerror}): free {size + 1} MiB of disk"
            f" space, or choose another folder, {data_folder.ANOTHER}"
        ) from None


def _build(folder: Path) -> None:
    """Fill a new store beside the old data, and flush it to disk."""
    path = folder / JOURNAL
    building = folder / _BUILDING
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(mode=0o700)
    log.warning("pieria: migrating %s (%d MiB) to SQLite, once", path, path.stat().st_size >> 20)
    started = time.monotonic()
    files.make_folders(building)
    store = _Store(building)
    try:
        for number, request in enumerate(journal.requests(path), 1):
            try:
                store.apply(request)
            except (LookupError, ValueError) as error:
                raise Unreadable(
                    f"record {number} of {path} ({request.method} {request.target}) cannot be"
                    " migrated: start the version of pieria that wrote it, clone the repositories,"
                    f" and push them to a new hub ({type(error).__name__})"
                ) from error
        store.commit()
    finally:
        store.close()
    _flush(building)
    building.rename(folder / _BUILT)
    files.sync_folder(folder)
    log.warning(
        "pieria: migrated in %.1f s; the old data is kept in %s: delete it when you do not need it",
        time.monotonic() - started,
        folder / MIGRATED,
    )


def _move_into_place(folder: Path) -> None:
    """Move the new store into the folder, the database last, and rename the old data."""
    built = folder / _BUILT
    for name in (files.OBJECTS, files.INCOMING, DATABASE):
        if (built / name).exists():
            (built / name).rename(folder / name)
    if (folder / JOURNAL).exists():
        (folder / JOURNAL).rename(folder / MIGRATED)
    files.sync_folder(folder)
    built.rmdir()
    for name in _LEFTOVERS:
        (folder / name).unlink(missing_ok=True)


def _flush(folder: Path) -> None:
    """Flush the database and the folders to disk. The files of the objects are flushed already."""
    with (folder / DATABASE).open("rb") as database:
        os.fsync(database.fileno())
    for found, folders, names in os.walk(folder):
        if folders or names:
            files.sync_folder(Path(found))


class _Store:
    """The new store, to which the requests of the journal are applied in one transaction."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows = sqlite3.connect(folder / DATABASE, isolation_level=None)
        # The whole folder is built again after a crash.
        self._rows.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")
        self._rows.executescript(sqlite.SCHEMA + files.SCHEMA + "BEGIN;")
        self._versions: dict[str, str] = {}
        """The new id of each version of an object."""

    def commit(self) -> None:
        self._rows.execute("COMMIT")

    def close(self) -> None:
        self._rows.close()

    def apply(self, request: Request) -> None:
        """Apply one request. Raises LookupError or ValueError for one that is not known."""
        path = unquote(request.target.partition("?")[0])
        if request.operation:
            self._write_rows(request)
        elif request.method == "PUT":
            self._put(_key(path), request)
        elif request.method == "DELETE":
            self._remove(_key(path), None)
        elif request.method == "POST" and path.strip("/") == _BUCKET:
            for key, version in _deleted(request.body):
                self._remove(key, version)
        else:
            raise ValueError("an unknown request")

    def _write_rows(self, request: Request) -> None:
        if request.operation != "BatchWriteItem":
            raise ValueError("a format of November 2026 that depends on other records")
        for write in json.loads(request.body)["RequestItems"][_TABLE]:
            [(action, asked)] = write.items()
            row = _decoded(asked["Item" if action == "PutRequest" else "Key"])
            key = (str(row["pk"]), str(row["sk"]))
            if action == "PutRequest":
                sqlite.put_row(self._rows, key, row)
            else:
                sqlite.delete_row(self._rows, key)

    def _put(self, key: str, request: Request) -> None:
        if request.headers.get("x-amz-content-sha256", "").startswith("STREAMING"):
            raise ValueError("a body in signed chunks")
        modified = datetime.fromisoformat(request.headers["last-modified"]).replace(tzinfo=UTC)
        version = files.add_version(
            self._folder, self._rows, key, request.body, modified.timestamp()
        )
        self._versions[request.headers["x-amz-version-id"]] = version

    def _remove(self, key: str, version: str | None) -> None:
        """Delete a version of an object, or all versions if `version` is None."""
        if version is None:
            files.remove_versions(self._folder, self._rows, key)
        elif version in self._versions:
            files.remove_versions(self._folder, self._rows, key, self._versions[version])


def _key(path: str) -> str:
    """Return the key of an object from `/bucket/key`. Raises LookupError for another bucket."""
    bucket, _, key = path.lstrip("/").partition("/")
    if bucket != _BUCKET or not key:
        raise LookupError(path)
    return key


def _deleted(body: bytes) -> list[tuple[str, str | None]]:
    """Return the keys and versions of a DeleteObjects request."""
    document = ElementTree.fromstring(body)  # noqa: S314 (the hub itself wrote the journal)
    named = document.iterfind("{*}Object")
    return [(one.findtext("{*}Key", ""), one.findtext("{*}VersionId")) for one in named]


def _decoded(attributes: Mapping[str, dict[str, Any]]) -> Row:
    """Return a row from JSON, in which bytes are base64."""
    return items.decode(
        {
            name: {"B": base64.b64decode(value["B"])} if "B" in value else value
            for name, value in attributes.items()
        }
    )
