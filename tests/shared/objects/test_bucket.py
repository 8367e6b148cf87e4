"""A bucket in few verbs, and what S3 calls an error in our words."""

from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiobotocore.response import StreamingBody
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError

from shared.engines.s3 import S3Bucket, translated
from shared.errors import Unavailable
from shared.model import Version
from shared.objects.bucket import CHUNK_BYTES, Bucket, Changed, NoSuchKey
from shared.stores import Stores
from tests.shared.clients import Failing, client_error

pytestmark = pytest.mark.asyncio(loop_scope="session")

NEVER = Version('"never"', None)
"""A content that nothing ever had."""


@pytest.fixture
def bucket(opened: Stores) -> Bucket:
    return opened.bucket


async def version(bucket: Bucket, key: str) -> Version:
    """The current content of a key."""
    stream = await bucket.stream(key)
    async for _ in stream.chunks:
        pass
    return stream.version


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"\x00\xff" * 5, b"m" * (CHUNK_BYTES + 1)],
    ids=["nothing", "a byte", "ten", "more than a MiB"],
)
async def test_bytes_come_back_as_they_went_in(bucket, repo_id, data):
    await bucket.put(repo_id, data)
    assert await bucket.get(repo_id) == data


async def test_put_replaces(bucket, repo_id):
    await bucket.put(repo_id, b"first")
    await bucket.put(repo_id, b"second")
    assert await bucket.get(repo_id) == b"second"


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [(0, 1, b"0"), (0, 10, b"0123456789"), (3, 6, b"345"), (9, 10, b"9"), (8, 99, b"89")],
    ids=["the first", "all", "some", "the last", "as far as there are any"],
)
async def test_a_range_is_read_up_to_its_stop(bucket, repo_id, start, stop, expected):
    await bucket.put(repo_id, b"0123456789")
    assert await bucket.get(repo_id, start, stop) == expected


async def test_a_stream_comes_in_pieces_with_its_length(bucket, repo_id):
    data = bytes(range(256)) * (CHUNK_BYTES // 256) + b"tail"
    await bucket.put(repo_id, data)
    stream = await bucket.stream(repo_id)
    chunks = [chunk async for chunk in stream.chunks]
    assert stream.length == len(data)
    assert b"".join(chunks) == data
    assert all(0 < len(chunk) <= CHUNK_BYTES for chunk in chunks)


async def test_each_content_of_a_key_is_a_version_of_its_own(bucket, repo_id):
    found = []
    for content in (b"first", b"second", b"first"):
        await bucket.put(repo_id, content)
        found.append(await version(bucket, repo_id))
    assert len({v.version_id for v in found}) == 3
    assert found[0].etag == found[2].etag != found[1].etag


@pytest.mark.parametrize(
    "read",
    [
        lambda b, k: b.get(k),
        lambda b, k: b.get(k, 0, 5),
        lambda b, k: b.stream(k),
        lambda b, k: b.copy(k, k + "2", Version('"x"', None)),
    ],
    ids=["get", "get a range", "stream", "copy"],
)
async def test_an_absent_key_raises_no_such_key(bucket, repo_id, read):
    with pytest.raises(NoSuchKey):
        await read(bucket, repo_id)


async def test_a_copy_is_of_the_version_that_was_read(bucket, repo_id):
    await bucket.put(f"{repo_id}/a", b"first")
    seen = await version(bucket, f"{repo_id}/a")
    await bucket.put(f"{repo_id}/a", b"second")
    await bucket.copy(f"{repo_id}/a", f"{repo_id}/b", seen)
    assert await bucket.get(f"{repo_id}/b") == b"first"
    assert await bucket.get(f"{repo_id}/a") == b"second"


async def test_without_versions_a_copy_is_of_the_same_entity_tag_or_not_made(bucket, repo_id):
    await bucket.put(f"{repo_id}/a", b"first")
    seen = replace(await version(bucket, f"{repo_id}/a"), version_id=None)
    await bucket.copy(f"{repo_id}/a", f"{repo_id}/b", seen)
    assert await bucket.get(f"{repo_id}/b") == b"first"
    await bucket.put(f"{repo_id}/a", b"second")
    with pytest.raises(Changed):
        await bucket.copy(f"{repo_id}/a", f"{repo_id}/c", seen)
    with pytest.raises(NoSuchKey):
        await bucket.get(f"{repo_id}/c")


@pytest.mark.parametrize("key", ["o/c", "a b", "ä", "a+b?c&d#e%2f"])
async def test_any_key_will_do(bucket, repo_id, key):
    await bucket.put(f"{repo_id}/{key}", b"x")
    seen = await version(bucket, f"{repo_id}/{key}")
    await bucket.copy(f"{repo_id}/{key}", f"{repo_id}/copy", seen)
    assert await bucket.get(f"{repo_id}/copy") == b"x"


@pytest.mark.parametrize("start", [10, 11, 99])
async def test_a_range_beyond_the_end_is_no_such_key(bucket, repo_id, start):
    await bucket.put(repo_id, b"0123456789")
    with pytest.raises(NoSuchKey):
        await bucket.get(repo_id, start, start + 5)


async def test_a_presigned_url_accepts_any_bytes(bucket, repo_id):
    """With a Content-Type that was not signed: the stock client cannot leave it out."""
    url = await bucket.presigned_put(repo_id, 60)
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url
    assert "X-Amz-SignedHeaders=host&" in url
    async with (
        aiohttp.ClientSession() as web,
        web.put(
            url, data=b"uploaded", headers={"Content-Type": "application/x-www-form-urlencoded"}
        ) as reply,
    ):
        assert reply.status == 200
    assert await bucket.get(repo_id) == b"uploaded"


# ── Failures ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(client_error("NoSuchKey", 404), NoSuchKey, id="no such key"),
        pytest.param(client_error("NoSuchVersion", 404), NoSuchKey, id="no such version"),
        pytest.param(client_error("InvalidRange", 416), NoSuchKey, id="no such range"),
        pytest.param(client_error("404", 404), NoSuchKey, id="a 404 without a word"),
        pytest.param(client_error("PreconditionFailed", 412), Changed, id="precondition failed"),
        pytest.param(client_error("NoSuchBucket", 404), Unavailable, id="no such bucket"),
        pytest.param(client_error("AccessDenied", 403), Unavailable, id="access denied"),
        pytest.param(client_error("SlowDown", 503), Unavailable, id="slow down"),
        pytest.param(client_error("InternalError", 500), Unavailable, id="internal error"),
        pytest.param(
            client_error("ConditionalRequestConflict", 409),
            Unavailable,
            id="two conditional writes at once",
        ),
        pytest.param(
            EndpointConnectionError(endpoint_url="http://x"), Unavailable, id="no connection"
        ),
        pytest.param(
            ConnectTimeoutError(endpoint_url="http://x"), Unavailable, id="no connection in time"
        ),
        pytest.param(aiohttp.ClientPayloadError("cut short"), Unavailable, id="a body cut short"),
        pytest.param(TimeoutError(), Unavailable, id="a time-out while reading"),
        pytest.param(ConnectionResetError(), Unavailable, id="connection reset"),
    ],
)
async def test_an_error_of_s3_is_one_of_ours(error, expected):
    with pytest.raises(expected) as raised, translated():
        raise error
    assert raised.value.__cause__ is error


VERBS = {
    "put": lambda bucket: bucket.put("k", b""),
    "get": lambda bucket: bucket.get("k"),
    "get a range": lambda bucket: bucket.get("k", 0, 1),
    "stream": lambda bucket: bucket.stream("k"),
    "copy": lambda bucket: bucket.copy("k", "l", Version('"e"', None)),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_no_verb_lets_an_error_of_s3_through(verb):
    client: Any = Failing(client_error("SlowDown", 503))
    with pytest.raises(Unavailable):
        await VERBS[verb](S3Bucket(client, "b"))


class BreaksOff:
    """A connection on which some bytes of a reply arrive, and then no more."""

    def __init__(self) -> None:
        self._pieces = [b"some"]
        self.content = self

    async def __aenter__(self) -> "BreaksOff":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        pass

    async def read(self, size: int = -1) -> bytes:
        if self._pieces:
            return self._pieces.pop()
        raise aiohttp.ClientPayloadError("cut short")

    async def get_object(self, **request: Any) -> Any:
        raw: Any = self
        return {"ETag": '"e"', "ContentLength": 10, "Body": StreamingBody(raw, 10)}


async def test_a_stream_that_breaks_off_is_unavailable_never_short():
    client: Any = BreaksOff()
    chunks = (await S3Bucket(client, "b").stream("k")).chunks
    with pytest.raises(Unavailable):
        [chunk async for chunk in chunks]
