"""Encoding of bodies: msgpack or JSON, by Content-Type for requests and Accept for replies.

Request bodies are untrusted. The nesting, the number of values and the types are checked, so that
each decoded value can be encoded again. Errors are always JSON; `edge` encodes them.
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
"""The deepest nesting of a body. The encoders of JSON and msgpack fail far below 1,000."""
VALUES = 4_000_000
"""The most values in a body. An empty map has one byte on the wire and 64 bytes in memory."""
CONTAINERS = 500_000
"""The most maps and lists in a body."""

JSON_BYTES = 4 * 1024 * 1024
"""The largest JSON body. The JSON decoder cannot count values, so the size is limited."""

REPLY_BYTES = 6_270_000
"""The largest reply body as Lambda sends it. Its limit is 6,291,556 bytes with headers."""
PAGE_BYTES = 5_800_000
"""The largest total size of the entries of a page in that form; the other fields need the rest."""

_REFUSED = re.compile(r"(?:^|;)\s*q\s*=\s*0(?:\.0*)?\s*(?:;|$)")
"""A parameter q=0 of a media type: the caller does not accept it."""
_PLAIN = frozenset({str, bytes, int, float, bool, type(None), dict, list})


class Decoder:
    """Decodes a request body in pieces. In JSON, bytes are text, or base64 with `"encoding":
    "base64"`.

    All methods raise MalformedBody (400), UnsupportedMedia (415), or TooLarge (413) for too many
    values.
    """

    def __init__(self, content_type: str, max_bytes: int) -> None:
        media = content_type.split(";")[0].strip().lower()
        if media in (MSGPACK, "application/msgpack", "application/vnd.msgpack"):
            self._reader: _MsgpackReader | _JsonReader = _MsgpackReader(max_bytes)
        elif media == JSON:
            self._reader = _JsonReader()
        else:
            raise UnsupportedMedia(
                f"send the body as {MSGPACK} (or {JSON}), with that Content-Type"
            )

    def feed(self, piece: bytes) -> None:
        """Add the next bytes of the body. Bytes of decoded msgpack values are not kept."""
        self._reader.feed(piece)

    def end(self) -> Any:
        """Return the value after the last bytes of the body."""
        value = self._reader.end()
        inspect(value)
        return value


def accepts_msgpack(accept: str) -> bool:
    """Whether an Accept header lists msgpack with a quality above 0 (RFC 9110, 12.4.2).

    The stock client lists msgpack and JSON, but can read only msgpack. So a lower quality of
    msgpack does not select JSON.
    """
    if "msgpack" not in accept.lower():
        return False
    named = (item.partition(";") for item in accept.lower().split(",") if "msgpack" in item)
    return any(not _REFUSED.search(parameters) for _, _, parameters in named)


def encode(value: Any, *, as_msgpack: bool) -> bytes:
    """Encode a reply body. In JSON, bytes become base64 text."""
    if as_msgpack:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
        return packed
    return json.dumps(
        value, default=_json_bytes, ensure_ascii=False, separators=(",", ":")
    ).encode()


def _fitting(sizes: Iterable[int]) -> int:
    count = used = 0
    for size in sizes:
        used += size
        if count and used > PAGE_BYTES:
            break
        count += 1
    return count


def sent_bytes(value: Any) -> int:
    """The most bytes that a value takes in a reply of Lambda, in the larger of both formats.

    Lambda sends JSON: msgpack is encoded in base64; in JSON, quotes and backslashes are escaped.
    """
    text = encode(value, as_msgpack=False)
    packed = encode(value, as_msgpack=True)
    return max(sent_json_bytes(text), sent_msgpack_bytes(len(packed)))


def sent_json_bytes(text: bytes) -> int:
    """The bytes that JSON takes as Lambda sends it, with the comma after an entry."""
    return len(text) + text.count(b'"') + text.count(b"\\") + 1


def sent_msgpack_bytes(length: int) -> int:
    """The most bytes that msgpack of this length takes as Lambda sends it."""
    return length * 4 // 3 + 4


def fitting(values: Iterable[Any]) -> int:
    """Return how many of these values, in order, fit into one reply; at least one."""
    return _fitting(map(sent_bytes, values))


def fitting_records(records: Iterable[bytes]) -> int:
    """The same for packed records."""
    return _fitting(map(sent_record_bytes, records))


def sent_record_bytes(packed: bytes) -> int:
    """The bytes of a packed record as `sent_bytes` counts them."""
    text = encode(unpack_record(packed), as_msgpack=False)
    return max(sent_json_bytes(text), sent_msgpack_bytes(len(packed)))


def check_reply(body: bytes, *, as_msgpack: bool) -> bytes:
    """Return the body of a reply if Lambda can send it. Raises TooLarge.

    Pages are made so that they fit. This refuses a single record that is too large.
    """
    sent = sent_msgpack_bytes(len(body)) if as_msgpack else sent_json_bytes(body)
    if sent <= REPLY_BYTES:
        return body
    if as_msgpack:
        raise too_large_to_send(len(body))
    raise TooLarge(
        f"the reply would have {len(body)} bytes of JSON, more than one reply can have: send"
        f" Accept: {MSGPACK}"
    )


def too_large_to_send(length: int) -> TooLarge:
    """The refusal of a record that only fits into the reply of a fetch."""
    steps = "read it with POST fetch or `pieria clone URL DIRECTORY`"
    return TooLarge(f"the reply would have {length} bytes, more than one reply can have: {steps}")


def pack_record(record: Mapping[str, Any]) -> bytes:
    """Encode a record as msgpack, with its keys in their order."""
    packed: bytes = msgpack.packb(record, use_bin_type=True)
    return packed


def unpack_record(data: bytes) -> dict[str, Any]:
    """The inverse of `pack_record`. Only for bytes that this hub has packed."""
    record: dict[str, Any] = msgpack.unpackb(data, raw=False)
    return record


def unpack_raw(data: bytes) -> dict[bytes, Any]:
    """The same with texts as UTF-8 bytes.

    It takes a third less time, since texts are not decoded.
    """
    record: dict[bytes, Any] = msgpack.unpackb(data, raw=True)
    return record


def pack_map_of_lists(lists: Mapping[str, Sequence[bytes]], rest: Mapping[str, Any]) -> bytes:
    """Build a msgpack map of lists from packed elements, without unpacking them.

    `rest` holds the other keys of the map as plain values.
    """
    pieces = [map_start(len(lists), rest)]
    for key, elements in lists.items():
        pieces += [list_start(key, len(elements)), *elements]
    return b"".join(pieces)


def map_start(lists: int, rest: Mapping[str, Any]) -> bytes:
    """The first bytes of a msgpack map: its header and plain values. `lists` lists must follow."""
    packer = msgpack.Packer(use_bin_type=True, autoreset=False)
    packer.pack_map_header(lists + len(rest))
    for key, value in rest.items():
        packer.pack(key)
        packer.pack(value)
    start: bytes = packer.bytes()
    return start


def list_start(key: str, length: int) -> bytes:
    """A key of a map and the header of its list. `length` packed elements must follow."""
    packer = msgpack.Packer(autoreset=False)
    packer.pack(key)
    packer.pack_array_header(length)
    start: bytes = packer.bytes()
    return start


def object_start(object_id: str, length: int) -> bytes:
    """An object of the wire format without its content, of which `length` bytes must follow."""
    # bin 8, bin 16 or bin 32: the packer has no method for this header.
    width = 1 if length < 1 << 8 else 2 if length < 1 << 16 else 4
    return b"".join(
        (
            _OBJECT_ID,
            _text(object_id),
            _CONTENT,
            (0xC4 + width // 2).to_bytes(),
            length.to_bytes(width, "big"),
        )
    )


def _text(text: str) -> bytes:
    packed: bytes = msgpack.packb(text)
    return packed


_OBJECT_ID = b"\x82" + _text("object_id")
"""The bytes before the id of an object: the header of a map of two, and the first key."""
_CONTENT = _text("content")
"""The bytes after the id of an object: the second key."""


def inspect(value: Any) -> None:
    """Raise MalformedBody for deep nesting or types that are not plain, or TooLarge."""
    level = [value]
    containers = 0
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
                raise MalformedBody(
                    "the body holds a number that is not finite; records cannot store it"
                )
            elif kind not in _PLAIN:
                raise MalformedBody(
                    "the body holds a msgpack extension type; only plain values are read"
                )
        if not below:
            return
        if containers > CONTAINERS:
            raise _too_many()
        level = below
    raise MalformedBody(f"the body nests deeper than {NESTING} levels")


def holds_bytes(value: Any) -> bool:
    """Whether any value inside is binary. Records must not hold binary values."""
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
    limits = f"the body holds more than {VALUES} values or {CONTAINERS} lists and maps"
    return TooLarge(
        f"{limits}: send less at once; for a push, an older commit first, as a branch of its own"
    )


class _Counter:
    """Stops a decoder before a small body builds too many values in memory."""

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
"""The error of msgpack for a length in the header of a list or map.

It has not read the entries yet.
"""


class _MsgpackReader:
    """Decodes msgpack while the bytes arrive."""

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
    """Collects the bytes of JSON, because Python's decoder needs all of them."""

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
    # An upper bound of the number of containers: texts may hold these characters, too.
    if body.count(b"[") + body.count(b"{") > CONTAINERS:
        raise _too_many()
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
        _decode_contents(value)
        # Fails for lone surrogates and for integers over 64 bits, which msgpack does not allow.
        msgpack.packb(value)
    except (ValueError, RecursionError, OverflowError) as error:
        raise MalformedBody(
            f"the body is not JSON that can be stored: {type(error).__name__}"
        ) from error
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _json_bytes(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(type(value).__name__)


def _decode_contents(body: Any) -> None:
    """Replace the text content of pushed objects by its bytes, in place.

    Records are not changed.
    """
    messages = (body, body.get("bundle")) if isinstance(body, dict) else ()
    for message in messages:
        objects = message.get("objects") if isinstance(message, dict) else None
        for item in objects if isinstance(objects, list) else ():
            if isinstance(item, dict) and isinstance(item.get("content"), str):
                text = item["content"]
                is_base64 = item.get("encoding") == "base64"
                item["content"] = (
                    _base64_bytes(text, item.get("object_id")) if is_base64 else text.encode()
                )


def _base64_bytes(text: str, object_id: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise MalformedBody(
            f"the content of object {str(object_id)[:80]!a} is not base64: encode its bytes with"
            " the standard alphabet and padding, or send msgpack"
        ) from None
