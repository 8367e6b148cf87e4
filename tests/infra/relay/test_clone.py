"""`pieria clone`: a working copy that is larger than the client can read at once."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench import client
from bench.history import History, Record
from infra.relay import workplace
from shared import ids
from tests.infra.relay.conftest import ROOT, Program, environment

FAKE = Path(__file__).with_name("fake_muse.py")
LARGE_BYTES = 40_000_000
"""More than one piece for the client, and more than one reply of the hub."""

Run = Callable[..., subprocess.CompletedProcess[str]]


def commit(
    message: str, parent: Record | None, manifest: dict[str, str], branch: str
) -> tuple[Record, Record]:
    """A commit and its snapshot."""
    snapshot_id = ids.snapshot_id(manifest)
    at = "2026-01-01T00:00:00+00:00"
    parents = [parent["commit_id"]] if parent else []
    record = {
        "commit_id": ids.commit_id(parents, snapshot_id, message, at),
        "parent_commit_id": parents[0] if parents else None,
        "parent2_commit_id": None,
        "snapshot_id": snapshot_id,
        "message": message,
        "committed_at": at,
        "branch": branch,
    }
    return record, {"snapshot_id": snapshot_id, "manifest": manifest}


def pushed(hub: Program, relay: Program, repository: str) -> dict[str, bytes]:
    """The files of the default branch of a new repository: three commits, one more on a branch, and
    two tags.
    """
    texts = {f"text-{number}": b"%d la la la\n" % number * 40 for number in range(1200)}
    noise = {f"noise-{number}": os.urandom(60_000) for number in range(120)}
    others = {"empty": b"", "large": os.urandom(LARGE_BYTES)}
    files = texts | noise | others
    objects = {sha256(content).hexdigest(): content for content in files.values()}
    names = {path: sha256(content).hexdigest() for path, content in files.items()}
    first, first_files = commit("texts", None, {path: names[path] for path in texts}, "main")
    second, second_files = commit(
        "noise", first, {path: names[path] for path in texts | noise}, "main"
    )
    third, third_files = commit("all", second, names, "main")
    side, side_files = commit("side", first, {"only": names["text-0"]}, "feature/x")
    main = History((first, second, third), (first_files, second_files, third_files), objects)
    client.push(relay.url + repository, hub.token, main)
    client.push(
        relay.url + repository,
        hub.token,
        History((first, side), (first_files, side_files), objects),
        "feature/x",
    )
    tags = [
        {"tag_id": f"{repository[4:]}-{n}", "tag": f"-take {n}", "commit_id": third["commit_id"]}
        for n in (1, 2)
    ]
    headers = {"Authorization": f"Bearer {hub.token}"}
    assert (
        httpx.post(f"{hub.url}{repository}/tags", json={"tags": tags}, headers=headers).status_code
        == 200
    )
    return files


@pytest.fixture(scope="module")
def source(hub: Program, relay: Program) -> tuple[str, dict[str, bytes]]:
    """The URL of a private repository, and its files."""
    files = pushed(hub, relay, "/me/large")
    headers = {"Authorization": f"Bearer {hub.token}"}
    body = {"visibility": "private"}
    assert (
        httpx.patch(f"{hub.url}/api/v1/repos/me/large", json=body, headers=headers).status_code
        == 200
    )
    return f"{hub.url}/me/large", files


@pytest.fixture
def run(hub: Program, tmp_path: Path) -> Run:
    """Runs `pieria clone` with a stand-in for the stock client on the PATH."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "muse"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    program.chmod(0o755)

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
        variables = {"PATH": path, "PIERIA_TOKEN": hub.token, **variables}
        command = [sys.executable, "-m", "infra.cli", "clone", *arguments]
        return subprocess.run(
            command,
            cwd=ROOT,
            env=environment(tmp_path, **variables),
            capture_output=True,
            text=True,
        )

    return run


def check(folder: Path, url: str, files: dict[str, bytes]) -> None:
    """The working copy is complete, and nothing else is in it."""
    found = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    assert found.keys() == files.keys()
    assert [name for name, content in files.items() if found[name] != content] == []
    store = folder / ".muse"
    heads = {
        str(file.relative_to(store / "refs/heads"))
        for file in (store / "refs/heads").rglob("*")
        if file.is_file()
    }
    assert heads == {"main", "feature/x"}
    assert len(list((store / "commits").iterdir())) == 4
    tags: list[Record] = [json.loads(file.read_text()) for file in (store / "tags").iterdir()]
    assert sorted(tag["tag"] for tag in tags) == ["-take 1", "-take 2"]
    assert (store / "config.toml").read_text() == f'url = "{url}"\n'
    assert [path.name for path in folder.iterdir() if path.is_dir()] == [".muse"]
    assert not (store / workplace.NOTES).exists()


def test_a_large_private_repository_is_cloned_whole(
    run: Run, source: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    url, files = source
    done = run(url, str(tmp_path / "copy"))
    assert done.returncode == 0, done.stderr
    check(tmp_path / "copy", url, files)
    assert "clone me/large: 48.1 MB, 4 commits" in done.stderr and done.stdout.startswith(
        "Cloned into"
    )
    again = run(url, str(tmp_path / "copy"))
    assert again.returncode == 2 and "is a Muse repository" in again.stderr


def test_a_clone_that_was_killed_in_a_record_goes_on(
    run: Run, source: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    url, files = source
    folder = tmp_path / "copy"
    killed = run(url, str(folder), CUT_COMMIT="1")
    assert killed.returncode == -9
    assert [path.name for path in folder.iterdir()] == [workplace.WORK], (
        "nobody takes it for a working copy"
    )
    other = run(url.replace("large", "other"), str(folder))
    assert other.returncode == 2 and "has an unfinished clone" in other.stderr
    done = run(url, str(folder))
    assert done.returncode == 0, done.stderr
    check(folder, url, files)


def test_a_clone_that_was_killed_while_files_were_written_goes_on(
    run: Run, source: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    url, files = source
    folder = tmp_path / "copy"
    assert run(url, str(folder)).returncode == 0
    head = (folder / ".muse/refs/heads/main").read_text()
    note: dict[str, Any] = {"url": url, "head": head, "heads": {}}
    (folder / ".muse" / workplace.NOTES).write_text(json.dumps(note) + "\n")
    (folder / "large").unlink()
    assert run(url, str(folder)).returncode == 0
    check(folder, url, files)


def test_an_impossible_clone_is_refused_in_one_line(
    run: Run, hub: Program, source: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    url, _ = source
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    new = str(tmp_path / "new")
    for done, reason in [
        (run(url, str(tmp_path / "full")), "is not empty"),
        (run(url, str(tmp_path / "full" / "mine" / "below")), "cannot write to"),
        (run(url, new, PIERIA_TOKEN=""), "repository not found"),
        (run(f"{hub.url}/others/nothing", new), "repository not found"),
        (run(hub.url, new), "does not name a repository"),
        (
            run(url, new, PATH="/nowhere"),
            "the Muse client is not on the PATH: install it with `uv tool install",
        ),
        (run("http://127.0.0.1:1/me/song", new), "cannot be reached"),
    ]:
        assert done.returncode == 2 and reason in done.stderr and done.stdout == ""
        assert done.stderr.count("\n") == 1
    assert (tmp_path / "full" / "mine").read_text() == "mine"


def test_a_program_of_the_same_name_is_not_the_client(
    run: Run, source: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    url, _ = source
    (tmp_path / "bin" / "muse").write_text("#!/bin/sh\necho hello\n")
    done = run(url, str(tmp_path / "new"))
    assert done.returncode == 2 and "is not the Muse client" in done.stderr
