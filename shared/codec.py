"""Bytes ↔ values: msgpack or JSON, chosen by Content-Type on the way in and by Accept on the way out.

What a stranger sends is bounded before it is believed: nesting, the number of values, and the types are
checked, so that nothing decoded here can fail to be encoded again. Errors are always JSON, elsewhere.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any, NoReturn

import msgpack

from shared.errors import MalformedBody, TooLarge, UnsupportedMedia

MSGPACK = "application/x-msgpack"
JSON = "application/json"

NESTING = 100
"""How deep a body may nest. Python's own JSON encoder and msgpack's give up far below 1,000."""
VALUES = 4_000_000
"""How many values a body may hold. An empty map is one byte on the wire and 64 in memory."""
CONTAINERS = 500_000
"""How many of them may be maps or lists."""

JSON_BYTES = 4 * 1024 * 1024
"""How large a JSON body may be: its decoder offers no hook to count with, so its size is the bound."""

REPLY_BYTES = 6_270_000
"""The most that the body of a reply may have as it leaves Lambda, which passes 6,291,556 bytes, headers included."""
PAGE_BYTES = 5_800_000
"""The most that the entries of a page may have as they leave Lambda; the rest is for what surrounds them."""

_REFUSED = re.compile(r"(?:^|;)\s*q\s*=\s*0(?:\.0*)?\s*(?:;|$)")
"""The quality of 0 among the parameters of a media type: the caller does not read it."""


_PLAIN = frozenset({str, bytes, int, float, bool, type(None), dict, list})


class Decoder:
    """Decodes a request body that comes in pieces. In JSON, bytes are base64 text beside `"encoding": "base64"`.

    All methods raise MalformedBody (400), UnsupportedMedia (415), or TooLarge (413) for more values than are accepted.
    """

    def __init__(self, content_type: str, max_bytes: int) -> None:
        media = content_type.split(";")[0].strip().lower()
        if media in (MSGPACK, "application/msgpack", "application/vnd.msgpack"):
            self._reader: _MsgpackReader | _JsonReader = _MsgpackReader(max_bytes)
        elif media == JSON:
            self._reader = _JsonReader()
        else:
            raise UnsupportedMedia(f"send the body as {MSGPACK} (or {JSON}), with that Content-Type")

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the body. Of msgpack, only those of incomplete values are kept."""
        self._reader.feed(piece)

    def end(self) -> Any:
        """The value in the body, all of which was fed."""
        value = self._reader.end()
        inspect(value)
        return value


def accepts_msgpack(accept: str) -> bool:
    """Whether a caller gets msgpack: it names msgpack, and not as what it refuses (RFC 9110, 12.4.2).

    The stock client names msgpack and JSON, and reads nothing but msgpack. So a lower quality is no reason for JSON.
    """
    if "msgpack" not in accept.lower():
        return False
    named = (item.partition(";") for item in accept.lower().split(",") if "msgpack" in item)
    return any(not _REFUSED.search(parameters) for _, _, parameters in named)


def encode(value: Any, *, as_msgpack: bool) -> bytes:
    """A reply body. In JSON, bytes become base64 text."""
    if as_msgpack:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
        return packed
    return json.dumps(value, default=_json_bytes, ensure_ascii=False, separators=(",", ":")).encode()


def _fitting(sizes: Iterable[int]) -> int:
    count, used = 0, 0
    for size in sizes:
        used += size
        if count and used > PAGE_BYTES:
            break
        count += 1
    return count


def sent_bytes(value: Any) -> int:
    """The bytes of a value within a reply as it leaves Lambda, at most, in the format that takes more.

    Lambda's reply is JSON: a msgpack body is base64 in it, and of a JSON body each quote and backslash is escaped.
    """
    text = encode(value, as_msgpack=False)
    packed = encode(value, as_msgpack=True)
    return max(sent_json_bytes(text), sent_msgpack_bytes(len(packed)))


def sent_json_bytes(text: bytes) -> int:
    """The bytes of JSON as they leave Lambda, with the comma that follows an entry."""
    return len(text) + text.count(b'"') + text.count(b"\\") + 1


def sent_msgpack_bytes(length: int) -> int:
    """The bytes of msgpack as they leave Lambda, at most."""
    return length * 4 // 3 + 4


def fitting(values: Iterable[Any]) -> int:
    """How many of these values, from the first one on, fit into one reply; one at least."""
    return _fitting(map(sent_bytes, values))


def fitting_records(records: Iterable[bytes]) -> int:
    """The same of packed records."""
    return _fitting(map(sent_record_bytes, records))


def sent_record_bytes(packed: bytes) -> int:
    """The bytes of a packed record as `sent_bytes` counts them."""
    text = encode(unpack_record(packed), as_msgpack=False)
    return max(sent_json_bytes(text), sent_msgpack_bytes(len(packed)))


def check_reply(body: bytes, *, as_msgpack: bool) -> bytes:
    """The body of a reply, if Lambda can send it. Raises TooLarge.

    A page fits by the way it is made; this refuses a single record that does not.
    """
    sent = sent_msgpack_bytes(len(body)) if as_msgpack else sent_json_bytes(body)
    if sent <= REPLY_BYTES:
        return body
    if as_msgpack:
        raise too_large_to_send(len(body))
    raise TooLarge(
        f"the reply would have {len(body)} bytes of JSON, more than are sent at once: ask for it with"
        f" Accept: {MSGPACK}, which is shorter"
    )


def too_large_to_send(length: int) -> TooLarge:
    """The refusal of a record that fits into no reply but that of a fetch."""
    return TooLarge(
        f"the reply would have {length} bytes, more than are sent at once: read it with POST fetch"
        " or `pieria clone URL DIRECTORY`"
    )


def pack_record(record: Mapping[str, Any]) -> bytes:
    """A record as msgpack, keys in the order they came."""
    packed: bytes = msgpack.packb(record, use_bin_type=True)
    return packed


def unpack_record(data: bytes) -> dict[str, Any]:
    """The inverse of `pack_record`, for bytes of our own making."""
    record: dict[str, Any] = msgpack.unpackb(data, raw=False)
    return record


def unpack_raw(data: bytes) -> dict[bytes, Any]:
    """The same with text as it lies, UTF-8: a third less time where few of many texts are of use."""
    record: dict[bytes, Any] = msgpack.unpackb(data, raw=True)
    return record


def pack_map_of_lists(lists: Mapping[str, Sequence[bytes]], rest: Mapping[str, Any]) -> bytes:
    """A msgpack map whose lists are given as already packed elements, so that stored records are not unpacked.

    `rest` holds the map's other keys as plain values.
    """
    pieces = [map_start(len(lists), rest)]
    for key, elements in lists.items():
        pieces += [list_start(key, len(elements)), *elements]
    return b"".join(pieces)


def map_start(lists: int, rest: Mapping[str, Any]) -> bytes:
    """The beginning of a msgpack map: its plain values. So many lists have to follow, each from its `list_start`."""
    packer = msgpack.Packer(use_bin_type=True, autoreset=False)
    packer.pack_map_header(lists + len(rest))
    for key, value in rest.items():
        packer.pack(key)
        packer.pack(value)
    start: bytes = packer.bytes()
    return start


def list_start(key: str, length: int) -> bytes:
    """A key of a map and the beginning of its list, which so many packed elements have to follow."""
    packer = msgpack.Packer(autoreset=False)
    packer.pack(key)
    packer.pack_array_header(length)
    start: bytes = packer.bytes()
    return start


def object_start(object_id: str, length: int) -> bytes:
    """An object as the wire has it, up to its content, of which so many bytes have to follow."""
    # bin 8, bin 16 or bin 32: the packer has a method for every header but this one.
    width = 1 if length < 1 << 8 else 2 if length < 1 << 16 else 4
    return b"".join(
        (_OBJECT_ID, _text(object_id), _CONTENT, (0xC4 + width // 2).to_bytes(), length.to_bytes(width, "big"))
    )


def _text(text: str) -> bytes:
    packed: bytes = msgpack.packb(text)
    return packed


_OBJECT_ID, _CONTENT = b"\x82" + _text("object_id"), _text("content")
"""What stands before an object's id, and what after it."""


def inspect(value: Any) -> None:
    """Raises MalformedBody if a value nests deeper than `NESTING`, or holds anything but plain finite values."""
    level, containers = [value], 0
    for _ in range(NESTING):
        below: list[Any] = []
        for item in level:
            kind = type(item)
            containers += kind is dict or kind is list
            if kind is dict:
                if not {str}.issuperset(map(type, item)):
                    raise MalformedBody("the body holds a map whose keys are not all text")
                below.extend(item.values())
            elif kind is list:
                below.extend(item)
            elif kind is float and not float("-inf") < item < float("inf"):
                raise MalformedBody("the body holds a number that is not finite; records cannot keep it")
            elif kind not in _PLAIN:
                raise MalformedBody("the body holds a msgpack extension type; only plain values are read")
        if not below:
            return
        if containers > CONTAINERS:
            raise _too_many()
        level = below
    raise MalformedBody(f"the body nests deeper than {NESTING} levels")


def holds_bytes(value: Any) -> bool:
    """Whether any value inside is binary: records are text, only an object's content is not."""
    level = [value]
    while level:
        below: list[Any] = []
        for item in level:
            if type(item) is bytes:
                return True
            if type(item) is dict:
                below.extend(item.values())
            elif type(item) is list:
                below.extend(item)
        level = below
    return False


def _too_many() -> TooLarge:
    return TooLarge(
        f"the body holds more than {VALUES} values or {CONTAINERS} lists and maps: send less at once;"
        " of a push, an older commit first, as a branch of its own"
    )


class _Counter:
    """Stops a decoder that is being made to build far more than was sent."""

    def __init__(self) -> None:
        self.values = 0
        self.containers = 0

    def count(self, container: Sized) -> Sized:
        self.containers += 1
        self.values += len(container)
        if self.containers > CONTAINERS or self.values > VALUES:
            raise _too_many()
        return container


_CLAIMED = re.compile(r"(\d+) exceeds max_(?:array|map)_len")
"""What msgpack complains about a list or a map, by the length in its header. No entry has been read by then."""


class _MsgpackReader:
    """Builds the value while the bytes arrive."""

    def __init__(self, max_bytes: int) -> None:
        counter = _Counter()
        self._max_bytes = max_bytes
        self._unpacker = msgpack.Unpacker(
            raw=False,
            strict_map_key=True,
            object_hook=counter.count,
            list_hook=counter.count,
            max_buffer_size=max(max_bytes, 1),
            max_array_len=VALUES,
            max_map_len=VALUES,
        )
        self._fed_bytes = 0
        self._is_complete = False
        self._value: Any = None

    def feed(self, piece: bytes) -> None:
        try:
            self._fed_bytes += len(piece)
            self._unpacker.feed(piece)
            if not self._is_complete:
                self._value = self._unpacker.unpack()
                self._is_complete = True
        except msgpack.OutOfData:
            pass
        except ValueError as error:
            claimed = _CLAIMED.match(str(error))
            if claimed and int(claimed[1]) <= self._max_bytes:
                raise _too_many() from error
            raise MalformedBody(f"the body is not msgpack: {type(error).__name__}") from error
        except msgpack.BufferFull as error:
            raise MalformedBody("the body is not msgpack: bytes follow the value") from error
        if self._is_complete and self._unpacker.tell() < self._fed_bytes:
            raise MalformedBody("the body is not msgpack: bytes follow the value")

    def end(self) -> Any:
        if not self._is_complete:
            raise MalformedBody("the body is not msgpack: it ends within a value")
        return self._value


class _JsonReader:
    """Collects the bytes: Python's decoder needs all of them."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > JSON_BYTES:
            raise TooLarge(f"a JSON body may have {JSON_BYTES} bytes; send {MSGPACK} instead")
        self._pieces.append(piece)

    def end(self) -> Any:
        return _parse_json(b"".join(self._pieces))


def _parse_json(body: bytes) -> Any:
    if body.count(b"[") + body.count(b"{") > CONTAINERS:  # or nearly: a text may hold them, too
        raise _too_many()
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
        _take_contents(value)
        # Finds what JSON can say and we cannot keep: lone surrogates and integers beyond 64 bits.
        msgpack.packb(value)
    except (ValueError, RecursionError, OverflowError) as error:
        raise MalformedBody(f"the body is not JSON that can be kept: {type(error).__name__}") from error
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _json_bytes(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(type(value).__name__)


def _take_contents(body: Any) -> None:
    """Turn the contents of pushed objects into the bytes that their text stands for; records stay as they came."""
    for message in (body, body.get("bundle")) if isinstance(body, dict) else ():
        objects = message.get("objects") if isinstance(message, dict) else None
        for item in objects if isinstance(objects, list) else ():
            if isinstance(item, dict) and isinstance(item.get("content"), str):
                text, in_base64 = item["content"], item.get("encoding") == "base64"
                item["content"] = _base64_bytes(text, item.get("object_id")) if in_base64 else text.encode()


def _base64_bytes(text: str, object_id: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise MalformedBody(
            f"the content of object {str(object_id)[:80]!a} is not base64: encode its bytes with the standard alphabet"
            " and padding, or send msgpack"
        ) from None
