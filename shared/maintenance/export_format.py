"""The file of an exported repository: a mark, and then entries in frames.

    bytes   content
    18      MAGIC, with the version of the format
    then, for each entry:
    4       the length of the entry, big-endian
    32      SHA-256 of the digest of the frame before (the first: of MAGIC), and of the entry
    …       the entry: a msgpack map with the key `kind`

The digests form a chain. So each frame proves all bytes before it, and a reader can use an entry
before it has read the rest. The last entry is `end`: without it, the file is cut off. An entry
comes after all entries that it refers to. docs/design/export.md has the order and the reasons.
"""

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from typing import Annotated, BinaryIO, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared import codec
from shared.errors import ApiError
from shared.model import CommitId, ObjectId, PortableNames, Role, Visibility
from shared.protocol.repositories import Description, Domain

MAGIC = b"pieria export 1\r\n\x00"
LENGTH_BYTES = 4
DIGEST_BYTES = 32
ENTRY_BYTES = 1024 * 1024 * 1024 + 64 * 1024
"""The largest entry: an object of the largest size that a hub can accept, and its id."""
LARGEST_TIME = 2**53
YEAR_ONE = -62_135_683_200
"""The first day of year 1 in any time zone, in epoch seconds."""
YEAR_9999 = 253_402_387_200
"""The last day of year 9999 in any time zone, in epoch seconds."""
STEP = r"^(\d{12}#\d{12}#[0-9a-f]{8})?$"


class NotAnExport(Exception):
    """The file is not a whole, unchanged export. The message has the place and the next step."""


class Entry(BaseModel):
    """The base of all entries. The names of the fields are the keys in the file, in this order."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, strict=True)


Address = Annotated[str, Field(max_length=1024, pattern=r"^[0-9]{12}#[^#]+#.+$")]
"""The address of a commit row: generation, id and lane (see `metadata.keys.address_text`)."""
Time = Annotated[int, Field(ge=0, le=LARGEST_TIME)]


class RepositoryEntry(Entry):
    """The settings of the repository, as the first entry. `created_at` is in epoch seconds."""

    kind: Literal["repository"] = "repository"
    owner: str
    slug: str
    visibility: Annotated[Visibility, Field(strict=False)]
    domain: Domain
    default_branch: str
    description: Description
    portable_names: Annotated[PortableNames, Field(strict=False)]
    created_at: Time


class ObjectEntry(Entry):
    """An object."""

    kind: Literal["object"] = "object"
    object_id: ObjectId
    content: bytes


class SnapshotEntry(Entry):
    """A snapshot. `record` is its record in msgpack, as the hub stores it."""

    kind: Literal["snapshot"] = "snapshot"
    snapshot_id: str
    record: bytes


class CommitEntry(Entry):
    """A row of a commit in a lane. A commit has several rows after some forced pushes.

    `is_indexed`: whether it is the row to which the id points; each id has exactly one.
    """

    kind: Literal["commit"] = "commit"
    address: Address
    parents: list[Address]
    is_indexed: bool
    record: bytes


class TagEntry(Entry):
    """A tag."""

    kind: Literal["tag"] = "tag"
    record: bytes


class ReleaseEntry(Entry):
    """A release. `created_at` is the time in lists in epoch seconds."""

    kind: Literal["release"] = "release"
    created_at: Annotated[int, Field(ge=YEAR_ONE, le=YEAR_9999)]
    record: bytes


class MoveEntry(Entry):
    """A move of a branch (see `model.Move`). An empty address: the branch did not exist."""

    kind: Literal["move"] = "move"
    branch: str
    step: Annotated[str, Field(pattern=STEP, min_length=1)]
    previous: Annotated[str, Field(pattern=STEP)]
    at: Time
    by: Annotated[str, Field(max_length=255)]
    before: Address | Literal[""]
    after: Address | Literal[""]
    forced: bool
    expunged: list[CommitId]


class BranchEntry(Entry):
    """A branch. `moved_at` is in epoch milliseconds; 0 and an empty `step` if they are unknown."""

    kind: Literal["branch"] = "branch"
    name: str
    head: Address
    step: Annotated[str, Field(pattern=STEP)]
    moved_at: Time


class MemberEntry(Entry):
    """A member with a role."""

    kind: Literal["member"] = "member"
    handle: str
    role: Annotated[Role, Field(strict=False)]


class EndEntry(Entry):
    """The last entry: the number of entries of each kind before it."""

    kind: Literal["end"] = "end"
    counts: dict[str, int]


HistoryEntry: TypeAlias = ObjectEntry | SnapshotEntry | CommitEntry
AnyEntry: TypeAlias = (
    HistoryEntry
    | RepositoryEntry
    | TagEntry
    | ReleaseEntry
    | MoveEntry
    | BranchEntry
    | MemberEntry
    | EndEntry
)
_ENTRIES: TypeAdapter[AnyEntry] = TypeAdapter(
    Annotated[AnyEntry, Field(discriminator="kind")], config=ConfigDict(defer_build=True)
)


class Writer:
    """Writes the frames of an export. `counts`: the entries so far by kind."""

    def __init__(self, out: BinaryIO) -> None:
        self.counts: Counter[str] = Counter()
        self._out = out
        self._digest = sha256(MAGIC).digest()
        out.write(MAGIC)

    def write(self, entry: AnyEntry) -> None:
        """Write an entry."""
        packed = codec.pack_record(dict(entry))
        self._digest = _next_digest(self._digest, packed)
        self._out.write(len(packed).to_bytes(LENGTH_BYTES, "big"))
        self._out.write(self._digest)
        self._out.write(packed)
        self.counts[entry.kind] += 1

    def end(self) -> None:
        """Write the last entry."""
        self.write(EndEntry(counts=dict(sorted(self.counts.items()))))


class Reader:
    """Reads the entries of an export. `place`: the first byte of the frame of the last entry.

    `size_bytes` is the size of the file.
    """

    def __init__(self, source: BinaryIO, size_bytes: int) -> None:
        self.place = 0
        self.counts: Counter[str] = Counter()
        self._source = source
        self._size_bytes = size_bytes
        self._read_bytes = 0

    def entries(self) -> Iterator[AnyEntry]:
        """Yield every entry but the last. Raises NotAnExport at the first wrong frame.

        The iteration ends without an exception only if the whole file is as it was written. Memory
        holds one entry.
        """
        if self._read(min(len(MAGIC), self._size_bytes)) != MAGIC:
            raise NotAnExport(
                "the file is not an export of this version of pieria: make it with `pieria export`"
            )
        digest = sha256(MAGIC).digest()
        while True:
            self.place = self._read_bytes
            digest, packed = self._frame(digest)
            entry = self._entry(packed)
            if isinstance(entry, EndEntry):
                self._check_end(entry)
                return
            self.counts[entry.kind] += 1
            yield entry

    def refused(self, reason: str) -> NotAnExport:
        """The error for the last entry."""
        return NotAnExport(
            f"the entry at byte {self.place} of the file {reason}. No branch was written: make"
            " the export again, or copy it again if the copy was damaged"
        )

    def _frame(self, digest: bytes) -> tuple[bytes, bytes]:
        """The digest of the next frame, and its entry."""
        head = self._read(LENGTH_BYTES + DIGEST_BYTES)
        length = int.from_bytes(head[:LENGTH_BYTES], "big")
        if length > ENTRY_BYTES:
            raise self.refused(f"has {length} bytes, and {ENTRY_BYTES} is the limit")
        packed = self._read(length)
        if _next_digest(digest, packed) != head[LENGTH_BYTES:]:
            raise self.refused("was changed after the export: its digest does not match")
        return head[LENGTH_BYTES:], packed

    def _entry(self, packed: bytes) -> AnyEntry:
        try:
            decoder = codec.Decoder(codec.MSGPACK, ENTRY_BYTES)
            decoder.feed(packed)
            return _ENTRIES.validate_python(decoder.end())
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, wrong["loc"]))
            raise self.refused(f"has another form ({place}: {wrong['msg']})") from None
        except ApiError as error:
            raise self.refused(f"cannot be read ({error.message})") from None

    def _check_end(self, end: EndEntry) -> None:
        if end.counts != dict(self.counts):
            raise self.refused("counts other entries than the file has")
        if self._read_bytes != self._size_bytes:
            raise self.refused("is the last one, but more bytes follow")

    def _read(self, length: int) -> bytes:
        """The next bytes. The size is checked first: a wrong length allocates no memory."""
        left = self._size_bytes - self._read_bytes
        data = self._source.read(length) if length <= left else b""
        if len(data) != length:
            raise NotAnExport(
                f"the file is cut off: the entry at byte {self.place} is not complete, and the file"
                f" has {self._size_bytes} bytes. Copy or export it again"
            )
        self._read_bytes += length
        return data


def _next_digest(previous: bytes, packed: bytes) -> bytes:
    digest = sha256(previous)
    digest.update(packed)
    return digest.digest()
