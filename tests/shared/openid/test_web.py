"""Requests to providers go to public addresses over https only."""

import asyncio
import socket
from typing import Any

import pytest

from shared.errors import Unavailable, Unprocessable
from shared.openid.web import Web, is_public

PRIVATE = """
    0.0.0.0 10.0.0.1 100.64.0.1 127.0.0.1 127.9.9.9 169.254.169.254 172.16.0.1 192.168.1.1 192.0.0.1
    198.18.0.1 224.0.0.1 240.0.0.1 255.255.255.255 :: ::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 fc00::1
    fd00:ec2::254 fe80::1 fe80::1%eth0 ff02::1 64:ff9b::7f00:1 64:ff9b::a00:1 2002:7f00:1::
    2001:db8::1 2001::1
""".split()
PUBLIC = "1.1.1.1 140.82.112.3 2606:4700::1111 ::ffff:1.1.1.1".split()


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_accepted(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example", "ftp://id.example", "https://", "https://localhost", "//id.example",
        "https://localhost:8443", "https://127.0.0.1", "https://2130706433", "https://0x7f.1",
        "https://127.1", "https://[::1]", "https://[::ffff:1.1.1.1]", "https://1.1.1.1",
        "https://user@id.example", "https://user:password@id.example", "https://id.example#a",
        "https://id.example\\@evil.example", "https://id.example:port", "https://id.exa mple",
        "https://id.example/\n", "https://é.example", "https://id.example/" + "x" * 500, "",
        "http://localhost", "http://127.0.0.1:9001/runtime", "javascript:alert(1)", "https://[x",
    ],
)  # fmt: skip
def test_a_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(Unprocessable):
        Web(allows_local=False).check(url)


def test_a_url_of_a_public_host_is_accepted() -> None:
    for url in ("https://id.example", "https://git.example:8443/a?b=c"):
        assert Web(allows_local=False).check(url) == url


def test_a_local_url_is_accepted_in_tests_only() -> None:
    for url in ("http://localhost:8000", "http://127.0.0.1:8000/a"):
        assert Web(allows_local=True).check(url) == url
    with pytest.raises(Unprocessable):
        Web(allows_local=True).check("http://169.254.169.254")


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["1.1.1.1", "127.0.0.1"], ["::1"], []])
def test_a_name_with_a_private_address_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    """The check is at the connection: a name can have another address a moment later."""
    connected: list[Any] = []

    async def resolved(loop: Any, host: str, port: int, **_: Any) -> Any:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (found, 443, 0, 0))
            if ":" in found
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (found, 443))
            for found in addresses
        ]

    async def connect(*arguments: Any, **_: Any) -> Any:
        connected.append(arguments)
        raise OSError

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolved)
    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", connect)
    monkeypatch.setattr("aiohappyeyeballs.start_connection", connect)
    with pytest.raises(Unavailable):
        asyncio.run(Web(allows_local=False).get("https://id.example/"))
    assert connected == []
