"""The migration of a folder of an earlier version: all data is there, and no crash loses any."""

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra import data_folder, migration
from infra.aws_request import Request
from infra.data_folder import Unable
from shared.engines import local
from shared.engines.local import Engine
from shared.engines.sqlite import SqliteTable
from shared.metadata.conditions import Row
from tests.infra import old_journal
from tests.infra.old_journal import delete_objects, delete_row, put_object, put_row, rows
from tests.infra.test_cli import done, refused

ROOT = Path(__file__).parent.parent.parent
KEYS = {"k": "s" * 32}


@contextmanager
def opened(folder: Path) -> Iterator[Engine]:
    """Open the migrated store."""
    engine = local.acquire(folder, KEYS)
    try:
        yield engine
    finally:
        local.release(folder)


def contents(folder: Path) -> tuple[list[Row], dict[str, bytes]]:
    """Return all rows, and the current objects by key."""

    async def read(engine: Engine) -> tuple[list[Row], dict[str, bytes]]:
        found = [row async for row in SqliteTable(engine.database).scan("p")]
        keys = [one.key async for one in engine.bucket.list("")]
        return found, {key: await engine.bucket.get(key) for key in keys}

    with opened(folder) as engine:
        return asyncio.run(read(engine))


def test_the_last_writes_of_rows_and_objects_are_migrated(tmp_path: Path) -> None:
    requests = [
        rows(put_row("1", n={"N": "1"}), put_row("2"), put_row("3")),
        rows(put_row("1", n={"N": "2"}, b={"B": "AP8="}, l={"L": [{"S": "a"}]}), delete_row("2")),
        put_object("a/%C3%A9%20b", b"first", "v1"),
        put_object("a/%C3%A9%20b", b"second", "v2", at="2026-11-20T10:00:01"),
        put_object("gone", b"x", "v3"),
        put_object("back", b"1", "v4"),
        put_object("back", b"2", "v5"),
        delete_objects(("gone", "v3"), ("back", "v5"), ("never", "v9")),
    ]
    old = old_journal.journal(requests)
    old_journal.write(tmp_path, old)
    migration.migrate(tmp_path)

    found, objects = contents(tmp_path)
    assert found == [
        {"pk": "p", "sk": "1", "n": 2, "b": b"\0\xff", "l": ["a"]},
        {"pk": "p", "sk": "3"},
    ]
    assert objects == {"a/é b": b"second", "back": b"1"}
    with opened(tmp_path) as engine:
        listed, _ = asyncio.run(engine.bucket.page("a/", ""))
    assert (
        datetime.fromtimestamp(listed[0].modified, UTC).isoformat() == "2026-11-20T10:00:01+00:00"
    )
    assert len([path for path in (tmp_path / "objects").rglob("*") if path.is_file()]) == 3
    assert (tmp_path / "journal.migrated").read_bytes() == old
    assert not (tmp_path / "journal").exists()


def test_a_folder_without_old_data_is_left_alone(tmp_path: Path) -> None:
    migration.migrate(tmp_path)
    assert list(tmp_path.iterdir()) == []


_KILLED = """
import os, signal, sys
from pathlib import Path
from infra import migration
from tests.infra.test_migration import contents

old = Path(sys.argv[1]).read_bytes()
EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "sqlite3.connect"}
for steps in range(0, 1000, 2):  # every second step, to save time
    folder = Path(sys.argv[2]) / str(steps)
    folder.mkdir()
    (folder / "journal").write_bytes(old)
    child = os.fork()
    if not child:
        left = [steps]
        def hook(event, arguments):
            if event in EVENTS:
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        migration.migrate(folder)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    names = {path.name for path in folder.iterdir()}
    kept = {"journal", "journal.migrated"} & names
    assert kept and (folder / kept.pop()).read_bytes() == old, names
    migration.migrate(folder)
    if steps == 0:
        whole = contents(folder)
    assert contents(folder) == whole, steps
    assert not {"building", "built", "journal"} & {path.name for path in folder.iterdir()}
    if not os.WIFSIGNALED(status):
        break
print(steps)
"""


@pytest.mark.slow
def test_a_kill_at_any_step_loses_nothing_and_the_next_start_completes_it(tmp_path: Path) -> None:
    path = tmp_path / "old"
    requests = [rows(put_row("1")), put_object("a", b"1", "v1"), put_object("b", b"2", "v2")]
    path.write_bytes(old_journal.journal(requests))
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(path), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15, "the steps of a migration"


def test_a_full_disk_is_reported_and_the_old_data_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    old = old_journal.journal([rows(put_row("1")), put_object("a", b"1", "v1")])
    old_journal.write(tmp_path, old)
    with monkeypatch.context() as disk, pytest.raises(Unable, match="free 1 MiB of disk space"):
        disk.setattr(os, "fsync", full)
        migration.migrate(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["journal"]
    migration.migrate(tmp_path)
    assert contents(tmp_path)[1] == {"a": b"1"}


@pytest.mark.parametrize(
    "target", ["DynamoDB_20120810.UpdateItem", "DynamoDB_20120810.TransactWriteItems"]
)
def test_a_record_that_cannot_be_migrated_is_named(tmp_path: Path, target: str) -> None:
    request = Request("POST", "/", {"x-amz-target": target}, b"{}")
    old_journal.write(tmp_path, old_journal.journal([rows(put_row("1")), request]))
    with pytest.raises(Unable, match=r"record 2 of .* cannot be migrated: start the version"):
        migration.migrate(tmp_path)
    assert (tmp_path / "journal").exists()


def test_a_recorded_hub_is_served_as_before(tmp_path: Path) -> None:
    data = tmp_path / "data"
    old_journal.write(data, old_journal.recorded())
    (data / "hub.json").write_text("{}")
    command = ("fsck", "me/song", "--data", data)
    assert f"make serve DATA={data}" in refused(*command)
    data_folder.make_private(data)
    migration.migrate(data)
    assert done(*command)["checked"]["commits"] == 5
    assert not (data / "hub.json").exists()
