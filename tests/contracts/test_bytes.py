"""S3, as `shared/objects` relies on it."""

import asyncio
import base64
import hashlib
import re
from dataclasses import replace
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from shared.engines.s3 import S3Bucket
from shared.model import Version
from shared.objects.bucket import Bucket, Changed, NoSuchKey, Stored
from tests.contracts.test_rows import hole

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNHASHED = hole("embedded", "does not compare digests: moto ignores them")


def sha256(data: bytes) -> str:
    """As S3 wants it."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


async def seen(bucket: Bucket, key: str) -> Version:
    """The current content of a key."""
    stream = await bucket.stream(key)
    async for _ in stream.chunks:
        pass
    return stream.version


async def absent(bucket: Bucket, key: str) -> bool:
    """Whether the key has no object."""
    try:
        await bucket.get(key)
    except NoSuchKey:
        return True
    return False


# ── Reading ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [(0, 1, b"0"), (0, 10, b"0123456789"), (3, 6, b"345"), (9, 10, b"9"), (8, 99, b"89")],
)
async def test_a_range_ends_before_its_stop(
    bucket: Bucket, pk: str, start: int, stop: int, expected: bytes
) -> None:
    await bucket.put(pk, b"0123456789")
    assert await bucket.get(pk, start, stop) == expected


@pytest.mark.parametrize("start", [10, 99])
async def test_a_range_beyond_the_end_is_refused(bucket: Bucket, pk: str, start: int) -> None:
    await bucket.put(pk, b"0123456789")
    with pytest.raises(NoSuchKey):
        await bucket.get(pk, start, start + 5)


async def test_five_megabytes_come_back_in_pieces_and_in_ranges(bucket: Bucket, pk: str) -> None:
    data = hashlib.shake_256(pk.encode()).digest(5_000_000)
    url = await bucket.presigned_put(pk, 60)
    async with httpx.AsyncClient() as web:
        assert (await web.put(url, content=data)).status_code == 200
    stream = await bucket.stream(pk)
    assert stream.length == len(data)
    assert b"".join([chunk async for chunk in stream.chunks]) == data
    assert await bucket.get(pk, 4_000_000, 4_000_100) == data[4_000_000:4_000_100]


async def test_an_absent_key_raises_no_such_key(bucket: Bucket, pk: str) -> None:
    for read in (
        bucket.get(pk),
        bucket.get(pk, 0, 1),
        bucket.stream(pk),
        bucket.copy(pk, f"{pk}2", Version('"x"', None)),
    ):
        with pytest.raises(NoSuchKey):
            await read


@pytest.mark.parametrize("key", ["a b", "ä", "a+b?c&d#e%2f", "a//b", "a:b@c=d,e;f!~*'()"])
async def test_any_key_will_do(bucket: Bucket, pk: str, key: str) -> None:
    await bucket.put(f"{pk}/{key}", b"x")
    await bucket.copy(f"{pk}/{key}", f"{pk}/copy", await seen(bucket, f"{pk}/{key}"))
    assert await bucket.get(f"{pk}/copy") == b"x"
    assert [found.key async for found in bucket.list(pk)] == sorted([f"{pk}/{key}", f"{pk}/copy"])


# ── Versions and copies ───────────────────────────────────────────────────────────────────────────


async def test_a_copy_is_of_the_version_that_was_read_even_if_the_key_has_a_newer_one(
    bucket: Bucket, pk: str
) -> None:
    await bucket.put(f"{pk}/a", b"first")
    first = await seen(bucket, f"{pk}/a")
    await bucket.put(f"{pk}/a", b"second")
    await bucket.copy(f"{pk}/a", f"{pk}/b", first)
    assert await bucket.get(f"{pk}/b") == b"first"


async def test_a_copy_of_another_entity_tag_is_not_made(bucket: Bucket, pk: str) -> None:
    await bucket.put(f"{pk}/a", b"first")
    first = await seen(bucket, f"{pk}/a")
    await bucket.put(f"{pk}/a", b"second")
    with pytest.raises(Changed):
        await bucket.copy(f"{pk}/a", f"{pk}/b", Version(first.etag, None))
    assert await absent(bucket, f"{pk}/b")


async def test_a_listing_is_of_the_prefix_by_key_with_sizes(bucket: Bucket, pk: str) -> None:
    for number, name in enumerate(["b", "a/2", "a", "a/1", "a0"]):
        await bucket.put(f"{pk}/{name}", b"x" * number)
    found = [stored async for stored in bucket.list(f"{pk}/a/")]
    assert [(stored.key, stored.size) for stored in found] == [(f"{pk}/a/1", 3), (f"{pk}/a/2", 1)]
    assert [stored.key async for stored in bucket.list(f"{pk}/")] == [
        f"{pk}/{name}" for name in ("a", "a/1", "a/2", "a0", "b")
    ]


class InPagesOfTwo:
    """A client whose listings have two keys a page, since a thousand take their time to write."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.pages = 0

    def __getattr__(self, name: str) -> Any:
        async def list_two(**request: Any) -> Any:
            self.pages += 1
            return await getattr(self._client, name)(**request, MaxKeys=2)

        return list_two


async def test_listings_go_on_page_after_page(s3: S3Bucket, pk: str) -> None:
    names = [f"{pk}/{name}" for name in ("1", "1/1", "2 ä+", "3", "4")]
    for name in [*names, names[1], names[1]]:
        await s3.put(name, b"")
    client: Any = InPagesOfTwo(s3.client)
    paged = replace(s3, client=client)
    assert [stored.key async for stored in paged.list(pk)] == names
    assert client.pages == 3
    versions = [stored async for stored in paged.versions(pk)]
    assert [stored.key for stored in versions] == [*names[:1], *names[1:2] * 3, *names[2:]]
    assert len({stored.version for stored in versions}) == len(versions) == 7
    assert client.pages == 3 + 4


async def test_every_version_is_listed_and_those_that_are_named_are_removed(
    s3: S3Bucket, pk: str
) -> None:
    for content in (b"1", b"22"):
        await s3.put(f"{pk}/a", content)
    await s3.put(f"{pk}/b", b"333")
    await s3.client.delete_object(Bucket=s3.name, Key=f"{pk}/b")

    async def listed() -> list[Stored]:
        return [found async for found in s3.versions(f"{pk}/")]

    found = await listed()
    assert sorted((stored.key, stored.size) for stored in found) == [
        (f"{pk}/a", 1),
        (f"{pk}/a", 2),
        (f"{pk}/b", 0),
        (f"{pk}/b", 3),
    ]
    assert await absent(s3, f"{pk}/b")
    await s3.remove([stored for stored in found if stored.size in (0, 2)])
    assert sorted((stored.key, stored.size) for stored in await listed()) == [
        (f"{pk}/a", 1),
        (f"{pk}/b", 3),
    ]
    assert await s3.get(f"{pk}/a") == b"1"
    assert await s3.get(f"{pk}/b") == b"333"


# ── Conditions and checks on the way in ───────────────────────────────────────────────────────────


async def refused(call: Any) -> int:
    """The status with which S3 refuses a call."""
    with pytest.raises(ClientError) as refusal:
        await call
    return refusal.value.response["ResponseMetadata"]["HTTPStatusCode"]


async def test_a_key_is_written_once_if_that_is_the_condition(s3: S3Bucket, pk: str) -> None:
    def put(body: bytes) -> Any:
        return s3.client.put_object(Bucket=s3.name, Key=pk, Body=body, IfNoneMatch="*")

    bodies = [f"{n}".encode() for n in range(20)]
    ends = await asyncio.gather(*map(put, bodies), return_exceptions=True)
    (winner,) = [
        body for body, end in zip(bodies, ends, strict=True) if not isinstance(end, BaseException)
    ]
    assert await s3.get(pk) == winner
    assert await refused(put(b"later")) == 412
    assert await s3.get(pk) == winner


@pytest.mark.parametrize("digest", ["ChecksumSHA256", "ContentMD5"])
@UNHASHED
async def test_bytes_that_are_not_those_announced_are_refused(
    s3: S3Bucket, pk: str, digest: str
) -> None:
    announced = {
        "ChecksumSHA256": sha256(b"announced"),
        "ContentMD5": (
            base64.b64encode(hashlib.md5(b"announced", usedforsecurity=False).digest()).decode()
        ),
    }
    named: Any = {digest: announced[digest]}
    assert await refused(s3.client.put_object(Bucket=s3.name, Key=pk, Body=b"sent", **named)) == 400
    assert await absent(s3, pk)


# ── Presigned URLs ────────────────────────────────────────────────────────────────────────────────


async def status(method: str, url: str, body: bytes = b"", **headers: str) -> int:
    """The reply to a stranger with this URL."""
    async with httpx.AsyncClient() as web:
        return (await web.request(method, url, content=body, headers=headers)).status_code


async def test_a_presigned_url_writes_whatever_its_bearer_sends(bucket: Bucket, pk: str) -> None:
    """With a Content-Type that was not signed: the stock client cannot leave it out."""
    url = await bucket.presigned_put(pk, 60)
    assert (
        await status(
            "PUT", url, b"uploaded", **{"content-type": "application/x-www-form-urlencoded"}
        )
        == 200
    )
    assert await bucket.get(pk) == b"uploaded"


async def test_a_presigned_url_reads_with_the_headers_that_were_asked_for(
    bucket: Bucket, pk: str
) -> None:
    await bucket.put(pk, b"0123456789")
    url = await bucket.presigned_get(pk, 60, "audio/midi", 'attachment; filename="a.mid"')
    async with httpx.AsyncClient() as web:
        whole, part = await web.get(url), await web.get(url, headers={"range": "bytes=2-4"})
    assert (whole.status_code, whole.content) == (200, b"0123456789")
    assert whole.headers["content-type"] == "audio/midi"
    assert whole.headers["content-disposition"] == 'attachment; filename="a.mid"'
    assert (part.status_code, part.content) == (206, b"234")


async def test_a_presigned_url_is_refused_when_its_time_is_over(bucket: Bucket, pk: str) -> None:
    await bucket.put(pk, b"before")
    url = await bucket.presigned_put(pk, 1)
    async with asyncio.timeout(10):
        # Its time counts from the last full second: it may be over at once.
        while await status("PUT", url, b"early") == 200:
            await asyncio.sleep(0.3)
    assert await status("PUT", url, b"late") == 403
    assert await bucket.get(pk) in (b"before", b"early")


@pytest.mark.parametrize(
    "abuse", ["another key", "another method", "a longer time", "another signature"]
)
async def test_a_presigned_url_is_good_for_nothing_else(
    bucket: Bucket, pk: str, abuse: str
) -> None:
    await bucket.put(pk, b"before")
    url = await bucket.presigned_put(pk, 60)
    method, changed = {
        "another key": ("PUT", url.replace(pk, f"{pk}x")),
        "another method": ("DELETE", url),
        "a longer time": ("PUT", re.sub(r"(?i)(expires=\d+)", r"\g<1>0", url)),
        "another signature": ("PUT", url[:-1] + ("0" if url[-1] != "0" else "1")),
    }[abuse]
    assert changed != url or method != "PUT"
    assert await status(method, changed, b"after") == 403
    assert await bucket.get(pk) == b"before"
    assert await absent(bucket, f"{pk}x")


@pytest.mark.parametrize(
    ("sent", "headers", "expected"),
    [
        pytest.param(b"wanted", {"x-amz-checksum-sha256": sha256(b"wanted")}, 200, id="as signed"),
        pytest.param(
            b"forged",
            {"x-amz-checksum-sha256": sha256(b"wanted")},
            400,
            id="other bytes",
            marks=UNHASHED,
        ),
        pytest.param(b"forged", {"x-amz-checksum-sha256": sha256(b"forged")}, 403, id="other both"),
        pytest.param(b"wanted", {}, 403, id="without its checksum"),
    ],
)
async def test_a_presigned_checksum_lets_these_bytes_in_and_no_others(
    s3: S3Bucket, pk: str, sent: bytes, headers: dict[str, str], expected: int
) -> None:
    """The limit for a client that sends the headers of the hub. The stock client sends none."""
    url = await s3.client.generate_presigned_url(
        "put_object",
        Params={"Bucket": s3.name, "Key": pk, "ChecksumSHA256": sha256(b"wanted")},
        ExpiresIn=60,
    )
    assert await status("PUT", url, sent, **headers) == expected
    assert await absent(s3, pk) == (expected != 200)
