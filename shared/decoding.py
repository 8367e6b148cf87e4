"""Request bodies from bytes to values, while they arrive: expanded, counted against their limit,
decoded.

A body is never in memory as a whole. Of a msgpack body there are the values so far and the bytes of
the value that is not complete; of a JSON body, which may have `codec.JSON_BYTES`, its bytes.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared import codec
from shared.errors import TooLarge

if TYPE_CHECKING:
    from shared.codings import Expander


@dataclass(frozen=True, slots=True)
class Bound:
    """How many bytes a body may have when it is expanded.

    `advice` ends the message of a refusal. `hold` is called with the number of bytes of each part
    that stays in memory, and may raise.
    """

    max_bytes: int
    advice: str
    hold: Callable[[int], None]


def too_large(max_bytes: int, advice: str) -> TooLarge:
    """The refusal of a body that is larger than this."""
    return TooLarge(f"the body is larger than {max_bytes} bytes, the most taken here; {advice}")


async def decoded(
    pieces: AsyncIterator[bytes], content_type: str, content_encoding: str, bound: Bound
) -> Any:
    """The value in a body that comes in pieces. The headers are checked before the first piece is
    read.

    Raises MalformedBody, UnsupportedMedia, TooLarge, and what `pieces` and `bound.hold` raise.
    """
    decoder = codec.Decoder(content_type, bound.max_bytes)
    if content_encoding:
        expander = _expander(content_encoding)
    else:
        expander = None
    size = 0
    async for piece in pieces:
        parts: Iterable[bytes] = expander.expand(piece) if expander else (piece,)
        for part in parts:
            size += len(part)
            if size > bound.max_bytes:
                raise too_large(bound.max_bytes, bound.advice)
            bound.hold(len(part))
            decoder.feed(part)
    if expander:
        expander.end()
    return decoder.end()


def _expander(content_encoding: str) -> "Expander | None":
    from shared import (
        codings,
    )  # late: the stock client compresses nothing, and zstd takes 2 ms of a cold start

    coding = codings.of_body(content_encoding)
    return codings.Expander(coding) if coding else None
