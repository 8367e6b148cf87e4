"""A reply has the size that was promised, or it is not sent to its end."""

from collections.abc import AsyncGenerator

import pytest

from shared import streaming
from shared.codings import Coding
from shared.streaming import Streamed, Terms


class Short:
    """A reply that promises more bytes than it makes."""

    size = 10

    async def in_msgpack(self) -> AsyncGenerator[bytes, None]:
        yield b"12345"

    async def to_compress(self, coding: Coding) -> AsyncGenerator[bytes, None]:
        yield b"12345"


def terms(coding: Coding | None, *, is_buffered: bool) -> Terms:
    return Terms(as_msgpack=True, coding=coding, is_buffered=is_buffered, max_reply_bytes=1_000)


@pytest.mark.asyncio
@pytest.mark.parametrize("coding", [None, *Coding])
async def test_a_reply_that_is_shorter_than_promised_is_not_sent(coding: Coding | None) -> None:
    with pytest.raises(RuntimeError, match="10 bytes was made with 5"):
        await streaming.send(terms(coding, is_buffered=True), Short())


@pytest.mark.asyncio
@pytest.mark.parametrize("coding", [None, *Coding])
async def test_a_streamed_reply_that_is_shorter_than_promised_is_not_ended(
    coding: Coding | None,
) -> None:
    reply = await streaming.send(terms(coding, is_buffered=False), Short())
    assert isinstance(reply, Streamed)
    sent: list[bool] = []

    async def receive() -> dict[str, str]:
        return {"type": "http.request"}

    async def send(message: dict[str, object]) -> None:
        sent.append(bool(message.get("more_body", True)))

    with pytest.raises(RuntimeError):
        await reply({"type": "http"}, receive, send)  # type: ignore[arg-type]
    assert all(sent)
