"""`pieria connect`: its start, its refusals, and its end."""

import signal
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from infra import ports
from infra.relay.address import Address, Unable, hub_address, proxy_of, repository_address
from tests.infra.relay.conftest import ROOT, Connect, Program, environment


def refused(home: Path, *arguments: str, **variables: str) -> str:
    """The one line of a relay that does not start."""
    command = [sys.executable, "-m", "infra.cli", "connect", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(home, **variables), capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("pieria: ")
    return done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_relay_without_a_word(connect: Connect, number: signal.Signals) -> None:
    relay = connect()
    relay.process.send_signal(number)
    assert relay.process.wait(timeout=10) == 0
    assert relay.said() == ""


def test_the_relay_prints_the_remote_to_add(hub: Program, tmp_path: Path) -> None:
    port = ports.free()
    command = [sys.executable, "-m", "infra.cli", "connect", hub.url, "--port", str(port)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(tmp_path), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        lines: list[str] = []
        while not lines or not lines[-1].startswith("RELAY READY"):
            lines.append(process.stdout.readline())
        process.terminate()
    assert f"  muse remote add origin http://127.0.0.1:{port}/OWNER/SLUG\n" in lines
    assert lines[-1] == f"RELAY READY url=http://127.0.0.1:{port}\n"


def test_a_port_that_is_in_use_is_named(hub: Program, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} is in use" in refused(tmp_path, hub.url, "--port", str(port))
    assert "70000 is not a port" in refused(tmp_path, hub.url, "--port", "70000")


def test_a_hub_that_does_not_answer_is_named(tmp_path: Path) -> None:
    port = ports.free()
    assert f"127.0.0.1:{port} cannot be reached" in refused(
        tmp_path, f"http://127.0.0.1:{port}", "--port", "0"
    )


def test_a_server_that_is_no_hub_is_named(hub: Program, tmp_path: Path) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.handle_request).start()
        assert "is not a hub" in refused(
            tmp_path, f"http://127.0.0.1:{server.server_port}", "--port", "0"
        )
    line = refused(tmp_path, f"{hub.url}/me/song", "--port", "0")
    assert "is not a hub" in line and "without a repository" in line


def test_a_token_file_that_has_no_token_is_named(hub: Program, tmp_path: Path) -> None:
    file = tmp_path / "token"
    assert "cannot read a token from" in refused(tmp_path, hub.url, "--token-file", str(file))
    file.write_text("two words")
    assert "does not contain a token" in refused(tmp_path, hub.url, "--token-file", str(file))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://hub.example.org", "use https://"),
        ("http://127.0.0.1.example.org", "use https://"),
        ("http://127.0.0.1@hub.example.org", "a user or a password"),
        ("https://me:secret@hub.example.org", "a user or a password"),
        ("hub.example.org", "is not the URL of a hub"),
        ("ftp://hub.example.org", "is not the URL of a hub"),
        ("https://", "is not the URL of a hub"),
        ("https://hub.example.org:port", "is not the URL of a hub"),
        ("https://hub.example.org/?a", "is not the URL of a hub"),
    ],
)
def test_a_url_that_is_no_hub_is_refused(url: str, reason: str) -> None:
    with pytest.raises(Unable, match=reason) as refusal:
        hub_address(url)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/",
        "http://localhost",
        "http://[::1]:8000",
        "https://hub.example.org/x",
    ],
)
def test_a_hub_on_this_machine_needs_no_tls(url: str) -> None:
    assert hub_address(url).url == url.rstrip("/")


def test_a_proxy_of_the_environment_is_used_but_not_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("https_proxy", "http_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.org:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example.org:3128")
    monkeypatch.setenv("NO_PROXY", "hub.example.net")
    assert proxy_of("https", "hub.example.org") == "http://proxy.example.org:3128"
    assert proxy_of("https", "hub.example.net") is None
    assert proxy_of("http", "127.0.0.1") is None


def test_a_hub_behind_a_proxy_is_asked_through_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        command = [
            sys.executable,
            "-m",
            "infra.cli",
            "connect",
            "https://hub.example.org",
            "--port",
            "0",
        ]
        variables = environment(tmp_path, https_proxy=url, HTTPS_PROXY=url, no_proxy="")
        with subprocess.Popen(
            command, cwd=ROOT, env=variables, stderr=subprocess.PIPE, text=True
        ) as process:
            connection, _ = proxy.accept()
            with connection:
                assert connection.recv(4096).startswith(b"CONNECT hub.example.org:443 HTTP/1.1\r\n")
                # The relay tries again, and would wait for 20 s for an answer.
                proxy.close()
            assert process.stderr and "cannot be reached" in process.stderr.read()
        assert process.returncode == 2


def test_the_url_of_a_repository_names_its_hub() -> None:
    assert repository_address("https://hub.example.org/me/song/") == (
        Address("https://hub.example.org"),
        "/me/song",
    )
    with pytest.raises(Unable, match="does not name a repository"):
        repository_address("https://hub.example.org/song")
