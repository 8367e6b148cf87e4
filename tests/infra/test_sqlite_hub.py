"""A hub on SQLite and files: crashes, a full disk, two processes, and no package of AWS."""

import asyncio
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import httpx
import msgpack
import pytest

from infra import sqlite_hub
from shared.engines import files, local, sqlite
from shared.engines.database import Database
from shared.engines.files import EXPIRED, FileBucket
from shared.engines.signed_urls import SignedUrls
from shared.engines.sqlite import SqliteTable
from shared.errors import Unavailable
from tests.builders import chain
from tests.infra.test_serve import refusal

ROOT = Path(__file__).parent.parent.parent
URLS = SignedUrls(b"s" * 32, lambda: "http://hub")


@dataclass
class Hub:
    """A running hub."""

    process: subprocess.Popen[str]
    url: str
    token: str

    def push(self, slug: str, number: int) -> httpx.Response:
        """Push one commit to the branch `main` of a repository."""
        pushed = {
            "commits": [{"commit_id": f"c-{number}", "snapshot_id": f"s-{number}"}],
            "snapshots": [{"snapshot_id": f"s-{number}", "manifest": {"a.txt": f"o-{number}"}}],
            "objects": [{"object_id": f"o-{number}", "content": "x"}],
        }
        return httpx.post(
            f"{self.url}/me/{slug}/push",
            headers={"Authorization": f"Bearer {self.token}"},
            json={"branch": "main", "bundle": pushed, "force": True},
        )

    def head(self, slug: str) -> str:
        """Return the commit of the branch `main`."""
        found: str = httpx.get(f"{self.url}/me/{slug}/refs").json()["branch_heads"]["main"]
        return found


@contextmanager
def hub(data: Path) -> Iterator[Hub]:
    command = [sys.executable, "-m", "infra.serve", "--port", "0"]
    environment = os.environ | {"PIERIA_LIMIT_PUSH": "100000"}
    with subprocess.Popen(
        [*command, "--data", str(data), "--json"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            yield Hub(process, ready["url"], ready["token"])
        finally:
            process.kill()


@pytest.mark.slow
def test_acknowledged_pushes_survive_kill_9_and_a_log_with_a_torn_end(tmp_path: Path) -> None:
    acknowledged: dict[str, int] = {}

    def push_until_it_dies(running: Hub, slug: str) -> None:
        for number in range(10_000):
            try:
                if running.push(slug, number).status_code != 200:
                    return
            except httpx.HTTPError:
                return
            acknowledged[slug] = number

    with hub(tmp_path / "data") as running:
        threads = [
            threading.Thread(target=push_until_it_dies, args=(running, f"song-{n}"))
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        time.sleep(2)
        running.process.send_signal(signal.SIGKILL)
        for thread in threads:
            thread.join()
    log = tmp_path / "data" / "hub.sqlite-wal"
    with log.open("ab") as end:  # a block that was being written
        end.write(b"\x07" * 5_000)
    with hub(tmp_path / "data") as running:
        assert len(acknowledged) == 4
        for slug, number in acknowledged.items():
            # The last push may have been stored without its reply.
            assert int(re.sub("c-", "", running.head(slug))) in (number, number + 1)
        assert running.push("song-0", 20_000).status_code == 200
        assert list((tmp_path / "data" / "incoming").iterdir()) == []


@pytest.mark.slow
def test_a_second_hub_on_the_folder_is_refused_and_a_command_works_meanwhile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    with hub(data) as running:
        assert running.push("song", 1).status_code == 200
        line = refusal(capsys, "--port", "0", "--data", str(data))
        assert "is in use by another hub" in line
        listed = subprocess.run(
            [sys.executable, "-m", "infra.cli", "repo", "list", "--data", str(data)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert listed.returncode == 0 and "song" in listed.stdout, listed.stderr


def test_a_start_imports_neither_aws_nor_the_packages_of_the_pages(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "infra.serve"]
    with (
        (tmp_path / "imports").open("w") as imports,
        subprocess.Popen(
            [*command, "--port", "0", "--data", str(tmp_path / "data"), "--json"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=imports,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        assert httpx.get(f"{url}/health").status_code == 200
        at_start = _imported(tmp_path / "imports")
        page = httpx.get(f"{url}/", headers={"Accept": "text/html"})
        process.kill()
    assert "uvicorn" in at_start
    assert not at_start & {"moto", "boto3", "botocore", "aiobotocore", "aioboto3", "flask"}
    assert not at_start & {"jinja2", "markdown_it", "mido", "pygments", "rich"}
    assert page.status_code == 200 and "jinja2" in _imported(tmp_path / "imports")


def _imported(report: Path) -> set[str]:
    """The top-level packages in the output of `-X importtime`."""
    return set(re.findall(r"\| +(\w+)", report.read_text()))


@pytest.mark.slow
def test_a_client_that_is_5000_commits_behind_is_ready_at_once(tmp_path: Path) -> None:
    history = chain(5_000)
    ids = [history[number] for number in range(1, 5_001)]
    with hub(tmp_path / "data") as running:
        pushed = httpx.post(
            f"{running.url}/me/song/push",
            headers={
                "Authorization": f"Bearer {running.token}",
                "Content-Type": "application/x-msgpack",
            },
            content=msgpack.packb({"branch": "main", "bundle": history.bundle()}),
        )
        assert pushed.status_code == 200, pushed.text
        for have in (ids[63::-1], ids[2_499:2_436:-1], ids[4_990:4_989:-1]):
            message = {"want": ids[-1:], "have": have}
            reply = httpx.post(f"{running.url}/me/song/negotiate", json=message).json()
            assert reply == {"ack": have, "common_base": have[0], "ready": True}


@pytest.mark.asyncio
async def test_with_a_full_disk_reads_go_on_and_writes_resume(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(tmp_path / "hub.sqlite", sqlite.SCHEMA + files.SCHEMA)
    table = SqliteTable(database)
    await table.put_new(("p", "before"), {"n": 1})

    def allow(pages: int) -> None:
        database.submit(lambda rows: rows.execute(f"PRAGMA max_page_count={pages}")).result()

    allow(20)
    with pytest.raises(Unavailable):
        await table.put([(("p", f"{n}"), {"data": b"x" * 50_000}) for n in range(20)])
    assert "could not be written" in caplog.text
    assert [row["sk"] for row in await table.query_all("p", "")] == ["before"]
    allow(100_000)
    await table.put([(("p", f"{n}"), {"data": b"x" * 50_000}) for n in range(20)])
    assert database.probe() == ""
    assert len(await table.query_all("p", "")) == 21
    database.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("unwritten", ["truncated", "zeros", "garbage"])
async def test_after_a_power_loss_a_write_is_complete_or_absent(
    tmp_path: Path, unwritten: str
) -> None:
    """The blocks of the log that were not flushed are missing, zeros, or other data."""
    database = Database(tmp_path / "hub.sqlite", sqlite.SCHEMA + files.SCHEMA)
    table, log = SqliteTable(database), tmp_path / "hub.sqlite-wal"
    await table.put([(("p", "acknowledged"), {"n": 1})])
    acknowledged = log.stat().st_size
    await table.put([(("p", f"{n}"), {"data": b"x" * 3_000}) for n in range(6)])
    whole, main = log.read_bytes(), (tmp_path / "hub.sqlite").read_bytes()
    database.close()
    counts = set()
    for end in range(acknowledged, len(whole) + 1, 1024):
        lost = len(whole) - end
        rest = {"truncated": b"", "zeros": bytes(lost), "garbage": b"\x07" * lost}[unwritten]
        copy = tmp_path / f"{end}"
        copy.mkdir()
        (copy / "hub.sqlite").write_bytes(main)
        (copy / "hub.sqlite-wal").write_bytes(whole[:end] + rest)
        after = Database(copy / "hub.sqlite", sqlite.SCHEMA + files.SCHEMA)
        rows = await SqliteTable(after).query_all("p", "")
        assert rows[-1]["sk"] == "acknowledged"
        assert after.reader().execute("PRAGMA integrity_check").fetchone() == ("ok",)
        await SqliteTable(after).put([(("p", "next"), {})])
        counts.add(len(rows))
        after.close()
    assert counts in ({1}, {1, 7}), "all rows of a write, or none"


@pytest.mark.asyncio
async def test_a_crash_between_a_file_and_its_row_leaves_no_file(tmp_path: Path) -> None:
    database = Database(tmp_path / "hub.sqlite", sqlite.SCHEMA + files.SCHEMA)
    files.make_folders(tmp_path)
    bucket = FileBucket(tmp_path, database, URLS)
    await bucket.put("k", b"stored")
    [stored] = [path for path in (tmp_path / "objects").rglob("*") if path.is_file()]
    stored.rename(tmp_path / "incoming" / stored.name)  # before the move
    (tmp_path / "incoming" / "0").write_bytes(b"torn")  # before the row
    assert await bucket.get("k") == b"stored"
    bucket.recover()
    assert await bucket.get("k") == b"stored"
    assert list((tmp_path / "incoming").iterdir()) == []
    database.close()


@pytest.mark.asyncio
async def test_expired_rows_are_deleted(tmp_path: Path) -> None:
    database = Database(tmp_path / "hub.sqlite", sqlite.SCHEMA)
    table = SqliteTable(database)
    await table.put([(("p", "old"), {"expires_at": 1}), (("p", "new"), {"expires_at": 2**40})])
    assert await database.write(sqlite.sweep) == 1
    assert [row["sk"] for row in await table.query_all("p", "")] == ["new"]
    database.close()


def test_old_uploads_are_deleted_at_the_start_and_while_the_hub_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_hub, "CHECK_SECONDS", 0.01)

    async def keys(bucket: FileBucket) -> set[str]:
        return {one.key async for one in bucket.versions("")}

    async def work(bucket: FileBucket) -> None:
        task = asyncio.create_task(sqlite_hub.delete_old_uploads(bucket))
        for _ in range(2):
            for number in range(EXPIRED + 1):
                await bucket.put(f"uploads/r/{number}", b"a")
            await bucket.put("repos/r/b", b"b")
            assert len(await keys(bucket)) == EXPIRED + 2, "uploads of today stay"
            with monkeypatch.context() as later:
                later.setattr(sqlite_hub, "QUARANTINE_SECONDS", -10)
                while await keys(bucket) != {"repos/r/b"}:
                    await asyncio.sleep(0.01)
        task.cancel()

    with mock.patch.dict(os.environ), sqlite_hub.opened(tmp_path / "data", "") as engine:
        asyncio.run(asyncio.wait_for(work(engine.bucket), 20))


@pytest.mark.asyncio
async def test_a_start_keeps_the_file_that_a_command_is_writing(tmp_path: Path) -> None:
    command = local.acquire(tmp_path, {"k": "s"})
    incoming = tmp_path / "incoming" / "0"
    incoming.write_bytes(b"half")
    with (tmp_path / "users").open("a") as lock:  # of another process
        fcntl.flock(lock, fcntl.LOCK_SH)
        command.recover()
        assert incoming.exists()
    command.recover()
    assert not incoming.exists()
    local.release(tmp_path)
