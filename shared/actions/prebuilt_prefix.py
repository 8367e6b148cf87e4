"""The bytes of a prebuilt clone, with which the response to a clone begins."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from hashlib import sha256

from shared.codings import Coding, Expander, Frame
from shared.errors import Damaged
from shared.model import PrebuiltClone, Run
from shared.objects.store import Prefetch
from shared.packs import PrebuiltSpan, Span

Reads = AsyncGenerator[tuple[Span, bytes], None]
PrebuiltReads = AsyncGenerator[tuple[PrebuiltSpan, bytes], None]
Piece = bytes | memoryview
Pieces = AsyncGenerator[Piece, None]


@dataclass(frozen=True, slots=True)
class VerifiedPrefix:
    """A prebuilt clone whose first ranges were read and have the right digests."""

    prebuilt: PrebuiltClone
    begun: Prefetch[PrebuiltSpan]


class PrefixReader:
    """The bytes of a prebuilt clone, in the order in which they are stored.

    Raises Damaged before it yields a wrong byte.
    """

    def __init__(self, reads: PrebuiltReads, prefix: VerifiedPrefix) -> None:
        self.prebuilt = prefix.prebuilt
        self._reads = reads
        self._verified = len(prefix.begun.window)
        self._rest = memoryview(b"")

    async def expanded(self, run: Run) -> Pieces:
        """The next run, its entries as in a response that is not compressed."""
        if not run.stored_size:
            async for part in self._take(run.size):
                yield part
            return
        expander = Expander(Coding.ZSTD)
        async for part in self._take(run.stored_size):
            for piece in expander.expand(bytes(part)):
                yield piece

    async def stored(self, run: Run) -> AsyncGenerator[Frame, None]:
        """The next run as it is stored: a zstd frame."""
        expanded_bytes = run.size
        async for part in self._take(run.stored_size):
            yield Frame(part, expanded_bytes)
            expanded_bytes = 0

    async def _take(self, size: int) -> AsyncGenerator[memoryview, None]:
        while size:
            if not self._rest:
                self._rest = await self._next_range()
            part = self._rest[:size]
            self._rest = self._rest[size:]
            size -= len(part)
            yield part

    async def _next_range(self) -> memoryview:
        span, data = await anext(self._reads)
        if self._verified:
            self._verified -= 1
        else:
            check_range(self.prebuilt, span, data)
        return memoryview(data)


def check_range(prebuilt: PrebuiltClone, span: PrebuiltSpan, data: bytes) -> None:
    """Raises Damaged if a range of a prebuilt clone has another digest."""
    if sha256(data).digest() != prebuilt.digests[span.start // prebuilt.range_size]:
        raise Damaged(f"bundle {prebuilt.name}")
