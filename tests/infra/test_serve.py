"""The hub on a laptop: it starts or says in one line why not, ends in order, and forgets
nothing.
"""

import ast
import json
import os
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import httpx
import jwt
import pytest

from infra import data_folder, serve

ROOT = Path(__file__).parent.parent.parent
READY = re.compile(r"HUB READY url=(http://127\.0\.0\.1:\d+) owner=(\S+) token=(\S+)")

SOMEBODYS = {
    "AWS_PROFILE": "work",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "AWS_SESSION_TOKEN": "secret",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
}
"""An environment that points to another hub, where no process listens."""


class Hub(NamedTuple):
    """A hub in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    owner: str
    token: str
    printed: list[str]

    def post(self, path: str, value: object) -> httpx.Response:
        return httpx.post(
            self.url + path, json=value, headers={"Authorization": f"Bearer {self.token}"}
        )

    def tokens(self) -> list[dict[str, Any]]:
        """The owner's list of tokens."""
        reply = httpx.get(
            f"{self.url}/api/v1/tokens", headers={"Authorization": f"Bearer {self.token}"}
        )
        found: list[dict[str, Any]] = reply.json()["tokens"]
        return found

    def push(self, number: int, content: str = "x") -> httpx.Response:
        """The answer to a push of one commit with one object."""
        pushed = {
            "commits": [{"commit_id": f"c-{number}", "snapshot_id": f"s-{number}"}],
            "snapshots": [{"snapshot_id": f"s-{number}", "manifest": {"song.txt": f"o-{number}"}}],
            "objects": [{"object_id": f"o-{number}", "content": content}],
        }
        return self.post("/me/song/push", {"branch": "main", "bundle": pushed, "force": True})

    def head(self) -> str:
        """The commit that the branch is at."""
        found: str = httpx.get(f"{self.url}/me/song/refs").json()["branch_heads"]["main"]
        return found

    def stopped(self, by: signal.Signals) -> int:
        """The exit status after this signal.

        Nothing more is printed, and only the log of requests on stderr.
        """
        self.process.send_signal(by)
        out, err = self.process.communicate(timeout=10)
        assert out == ""
        assert {json.loads(line)["event"] for line in err.splitlines()} <= {"request"}
        return self.process.returncode


@contextmanager
def hub(data: Path) -> Iterator[Hub]:
    """Start a hub on any free port, wait until it is ready, and see to it that it ends."""
    command = [sys.executable, "-m", "infra.serve", "--port", "0", "--data", str(data)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | SOMEBODYS,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            printed = []
            for line in process.stdout or []:
                printed.append(line)
                if found := READY.match(line):
                    url, owner, token = found.groups()
                    yield Hub(process, url, owner, token, printed)
                    break
            else:
                pytest.fail(process.stderr.read() if process.stderr else "")
        finally:
            process.kill()


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which the hub does not start, asked for in this process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with mock.patch.dict(os.environ):
            assert serve.main(list(arguments)) == 2
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("pieria: ")
    return err


def test_a_port_in_use_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        line = refusal(capsys, "--port", port, "--data", str(tmp_path / "data"))
        assert f"port {port} is in use" in line and "PORT=" in line and "--port" in line
    assert not (tmp_path / "data").exists()


def test_a_number_that_is_no_port_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "70000 is not a port" in refusal(capsys, "--port", "70000")


def test_a_folder_that_cannot_be_made_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    data = str(tmp_path / "file" / "data")
    line = refusal(capsys, "--port", "0", "--data", data)
    assert f"cannot use {data}" in line and "--data" in line and "DATA=" in line


def test_a_folder_in_use_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lock = data_folder.locked(tmp_path)
    try:
        line = refusal(capsys, "--port", "0", "--data", str(tmp_path))
    finally:
        os.close(lock)
    assert f"{tmp_path} is in use by another hub" in line


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", '{"k": 1}', '{"k": "short"}'])
def test_damaged_keys_are_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str
) -> None:
    (tmp_path / "signing-keys.json").write_text(text)
    assert "signing-keys.json" in refusal(capsys, "--port", "0", "--data", str(tmp_path))


def test_an_old_python_is_refused_with_a_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 14, "final", 0))
    assert "Python 3.11 or newer is needed, this is 3.10" in refusal(capsys, "--port", "0")


def test_an_old_python_gets_that_far() -> None:
    ast.parse((ROOT / "infra" / "serve.py").read_text(), feature_version=(3, 8))


def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    keys = data_folder.signing_keys(tmp_path)
    assert data_folder.signing_keys(tmp_path) == keys
    assert [len(bytes.fromhex(secret)) for secret in keys.values()] == [32]
    [path] = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_prints_the_next_commands_and_ends_in_order(tmp_path: Path) -> None:
    with hub(tmp_path / "data") as running:
        assert httpx.get(f"{running.url}/health").status_code == 200
        text = "".join(running.printed)
        for line in (
            f"MUSE_TOKEN={running.token} muse auth login --hub {running.url}",
            f"muse remote add origin {running.url}/{running.owner}/song",
            "muse push origin main",
            f"muse clone {running.url}/{running.owner}/song",
        ):
            assert f"  {line}\n" in text
        assert len(re.findall("HUB READY", text)) == 1
        pushed = {
            "commits": [{"commit_id": "c-1", "snapshot_id": "s-1"}],
            "snapshots": [{"snapshot_id": "s-1", "manifest": {"100%25.txt": "o-1"}}],
            "objects": [{"object_id": "o-1", "content": "all"}],
        }
        assert (
            running.post("/me/song/push", {"branch": "main", "bundle": pushed}).status_code == 200
        )
        assert httpx.get(f"{running.url}/me/song/raw/main/100%2525.txt").text == "all"
        claims = jwt.decode(running.token, options={"verify_signature": False})
        assert claims["sub"] == "me" and claims["scope"] == "admin"
        [listed] = running.tokens()
        assert (listed["token_id"], listed["expires_at"]) == (claims["jti"], claims["exp"])
        assert running.stopped(signal.SIGINT) == 0


def test_a_push_survives_kill_9(tmp_path: Path) -> None:
    pushed = {"bundle": {"commits": [{"commit_id": "first", "message": "one"}]}, "branch": "main"}
    with hub(tmp_path / "data") as running:
        assert running.post("/me/song/push", pushed).status_code == 200
        running.process.kill()
        token = running.token
    with hub(tmp_path / "data") as running:
        assert httpx.get(f"{running.url}/me/song/refs").json()["branch_heads"] == {"main": "first"}
        again = running._replace(token=token)
        assert again.post("/me/song/push", pushed).status_code == 200, (
            "a token outlives the process too"
        )
        [listed] = running.tokens()
        claims = jwt.decode(running.token, options={"verify_signature": False})
        assert (listed["token_id"], listed["expires_at"]) == (
            claims["jti"],
            claims["exp"],
        ), "one row, prolonged"
        assert running.stopped(signal.SIGTERM) == 0


def test_a_token_that_was_revoked_is_not_printed_again(tmp_path: Path) -> None:
    with hub(tmp_path / "data") as running:
        [listed] = running.tokens()
        headers = {"Authorization": f"Bearer {running.token}"}
        url = f"{running.url}/api/v1/tokens/{listed['token_id']}"
        assert httpx.delete(url, headers=headers).status_code == 204
        assert httpx.get(f"{running.url}/api/v1/me", headers=headers).status_code == 401
        assert running.stopped(signal.SIGTERM) == 0
    with hub(tmp_path / "data") as running:
        fresh, revoked = running.tokens()
        assert revoked["token_id"] == listed["token_id"] and revoked["revoked_at"]
        assert fresh["revoked_at"] is None
        assert httpx.get(f"{running.url}/api/v1/me", headers=headers).status_code == 401
        assert running.post("/me/song/push", {"bundle": {}, "branch": "main"}).status_code == 422
        assert running.stopped(signal.SIGTERM) == 0


# ── Who may come in ───────────────────────────────────────────────────────────────────────────────


def modes(folder: Path) -> dict[str, int]:
    """The permissions of a folder and of the files in it."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]}


def test_only_the_owner_may_read_the_files_of_a_running_hub(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    usual = os.umask(0)
    try:
        with hub(data) as running:
            assert running.push(1).status_code == 200
            found = modes(data)
            assert found.pop("data") == 0o700, "also a folder that was there, and was open"
            assert {found.pop("objects"), found.pop("incoming")} == {0o700}
            database = {"hub.sqlite", "hub.sqlite-wal", "hub.sqlite-shm"}
            assert set(found) == database | {"lock", "users", "signing-keys.json"}
            assert set(found.values()) == {0o600}
            command = Path(f"/proc/{running.process.pid}/cmdline")
            if command.exists():
                assert running.token not in command.read_text()
            running.stopped(signal.SIGTERM)
    finally:
        os.umask(usual)


def test_a_shared_folder_with_other_files_is_left_as_it_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = tmp_path / "shared"
    data.mkdir()
    data.chmod(0o1777)
    (data / "somebody's").write_text("")
    assert "is open to other users" in refusal(capsys, "--port", "0", "--data", str(data))
    assert modes(data)["shared"] == 0o1777 and len(list(data.iterdir())) == 1


def test_it_answers_under_its_own_names_only(tmp_path: Path) -> None:
    """A name that a web page has pointed to this machine is not its own."""
    with hub(tmp_path / "data") as running:
        port = running.url.rpartition(":")[2]
        for host in (
            f"127.0.0.1:{port}",
            f"localhost:{port}",
            f"LOCALHOST:{port}",
            f"[::1]:{port}",
        ):
            assert httpx.get(f"{running.url}/health", headers={"host": host}).status_code == 200, (
                host
            )
        for host in (
            "evil.example",
            f"evil.example:{port}",
            "127.0.0.1",
            "127.0.0.1:1",
            f"127.0.0.1.evil:{port}",
            "",
        ):
            for path in ("/health", "/me/song/refs"):
                reply = httpx.get(running.url + path, headers={"host": host})
                assert (reply.status_code, reply.json()["code"]) == (403, "forbidden"), host
                assert running.url in reply.json()["message"] and len(reply.content) < 400
        reply = httpx.post(
            f"{running.url}/me/song/push", headers={"host": "evil"}, content=bytes(10_000_000)
        )
        assert reply.status_code == 403, "the refusal of a large body arrives"


def test_replies_do_not_wait_for_the_acknowledgement_of_the_client() -> None:
    """Without TCP_NODELAY most replies wait for a delayed ACK, 40 ms on Linux.

    Some do not, so time shows little.
    """
    with (
        serve._listening("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# ── When the disk is full ─────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs prlimit, which only Linux has")
def test_a_full_disk_stops_pushes_until_there_is_space_and_nothing_else(tmp_path: Path) -> None:
    with hub(tmp_path / "data") as running:
        assert running.push(1).status_code == 200
        full = (tmp_path / "data" / "hub.sqlite-wal").stat().st_size
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (full, hard))
        # A file that is too large, then a row in the log, which is full.
        for number, content in ((2, "x" * (full + 1)), (3, "x")):
            refused = running.push(number, content)
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            health = httpx.get(f"{running.url}/health")
            assert health.status_code == 503 and "disk" in health.json()["message"]
        assert running.head() == "c-1"
        assert httpx.get(f"{running.url}/me/song/raw/main/song.txt").text == "x"
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert httpx.get(f"{running.url}/health").status_code == 200
        assert running.push(2, "y" * full).status_code == 200
        running.process.send_signal(signal.SIGKILL)
        _, log = running.process.communicate(timeout=10)
        lines = [line for line in log.splitlines() if line.startswith("pieria: ")]
        assert ["could not be" in line for line in lines] == [True, True, False, False], lines
        assert "File too large" in lines[0] and "can be written again" in lines[3]
    with hub(tmp_path / "data") as running:
        assert running.head() == "c-2"
        assert httpx.get(f"{running.url}/me/song/raw/main/song.txt").text == "y" * full


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    "folder", [".hub", "it's here", 'a "b"  c', "é ünï", "$(id) `id` $HOME;x", "-data", "a#b\\c"]
)
def test_make_serve_takes_a_folder_of_any_name(tmp_path: Path, folder: str) -> None:
    """In a copy, without the rule that installs packages, and with a command that shows its
    arguments.
    """
    rule = re.compile(r"^packages:.*\n(\t.*\n)+", re.MULTILINE)
    (tmp_path / "Makefile").write_text(rule.sub("packages:\n", (ROOT / "Makefile").read_text()))
    shown = tmp_path / "python"
    shown.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    shown.chmod(0o755)
    # make expands a dollar of a variable that is given to it.
    given = folder.replace("$", "$$")
    made = subprocess.run(
        ["make", "-s", "serve", f"BIN={tmp_path}", "PORT=9", f"DATA={given}"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    arguments = ["-m", "infra.serve", "--port=9", f"--data={folder}", "--engine=sqlite"]
    assert json.loads(made.stdout) == arguments
