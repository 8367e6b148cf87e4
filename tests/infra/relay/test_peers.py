"""The token of a user is not used for the requests of another user of the machine."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from infra.relay import peers
from tests.infra.relay.conftest import Connect, Program

NOBODY = 65534
ASK = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1]).status)
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""

linux = pytest.mark.skipif(
    not peers.TABLES[0].exists(), reason="only Linux lists the users of sockets"
)
root = pytest.mark.skipif(os.getuid() != 0, reason="only root can start a process of another user")


def asked(url: str, user: int) -> str:
    """The reply to a process of this user."""
    interpreter = Path(sys.executable).resolve()
    shared = Path("/usr/bin/python3")
    program = shared if shared.exists() else interpreter
    done = subprocess.run(
        [program, "-c", ASK, url], user=user, cwd="/", capture_output=True, text=True
    )
    return done.stdout + done.stderr


@linux
@root
def test_another_user_cannot_use_the_token(hub: Program, connect: Connect) -> None:
    relay = connect(PIERIA_TOKEN=hub.token)
    assert asked(f"{relay.url}/health", os.getuid()) == "200\n"
    refusal = asked(f"{relay.url}/health", NOBODY)
    assert refusal.startswith("403 ") and "another user of this machine" in refusal


@linux
@root
def test_a_relay_without_a_token_serves_all_users(relay: Program) -> None:
    assert asked(f"{relay.url}/health", NOBODY) == "200\n"


def test_the_own_user_can_use_the_token(hub: Program, connect: Connect) -> None:
    relay = connect(PIERIA_TOKEN=hub.token)
    assert httpx.get(f"{relay.url}/health").status_code == 200
    port = httpx.URL(relay.url).port
    assert httpx.get(f"http://localhost:{port}/health").status_code == 200


@linux
def test_a_connection_that_its_process_has_closed_has_no_user() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, peer = listener.accept()
        with accepted:
            assert not peers.is_of_another_user(peer, accepted.getsockname())
            client.close()
            assert peers.is_of_another_user(peer, accepted.getsockname())
            assert peers.is_of_another_user(("127.0.0.1", 1), accepted.getsockname())
