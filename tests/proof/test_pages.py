"""Every reply is the same for any page size of DynamoDB and S3 and any incomplete batch, and every
cleanup is complete.
"""

from typing import Any

import pytest

from shared import ids
from shared.engines.selection import stores
from shared.maintenance import gc, gc_plan, purge
from tests.proof.asgi_client import Hub, shown
from tests.proof.memory import Cloud
from tests.proof.stories import (
    API,
    HISTORY,
    SONG,
    STORIES,
    WIRE,
    findings,
    prepare,
    push,
    settled,
    view,
)

READS = [story for story in STORIES if story.is_read]


def short(hub: Hub) -> None:
    """A row, or a key, on each page; every fifth row of a batch is left."""
    hub.restart()
    hub.cloud.page_bytes, hub.cloud.page_keys, hub.cloud.leaves = 1, 1, 0.2


def long(hub: Hub) -> None:
    hub.restart()
    hub.cloud.page_bytes, hub.cloud.page_keys, hub.cloud.leaves = 1024 * 1024, 1000, 0.0


@pytest.fixture
def hub(aws: Any) -> Any:
    with Hub(Cloud()) as running:
        prepare(running)
        yield running


def test_every_read_is_answered_the_same(hub: Hub) -> None:
    expected = [
        (story.name, story.tell(hub).status, settled(shown(story.tell(hub)))) for story in READS
    ]
    seen = view(hub)
    short(hub)
    assert [
        (story.name, story.tell(hub).status, settled(shown(story.tell(hub)))) for story in READS
    ] == expected
    assert view(hub) == seen
    assert findings(hub) == []


def test_every_write_does_the_same(hub: Hub) -> None:
    world = hub.cloud.save()
    for story in STORIES:
        if story.is_read:
            continue
        after = []
        for pages in (long, short):
            hub.cloud.load(world)
            pages(hub)
            assert story.tell(hub).status == story.status, story.name
            long(hub)
            after.append(view(hub))
        assert after[0] == after[1], story.name


def test_uploads_on_several_pages_of_the_quarantine_are_all_found(hub: Hub) -> None:
    contents = {ids.object_id(content): content for content in (b"first", b"second", b"third")}
    asked = {"object_ids": list(contents)}
    answer = hub.call(f"POST {WIRE}/presign", SONG, {**asked, "direction": "put"}, by="me")
    for object_id, url in answer.value["presigned"].items():
        hub.upload(url, contents[object_id])
    short(hub)
    assert hub.call(f"POST {WIRE}/filter-objects", SONG, asked, by="me").value == {"missing": []}


def left_after_cleaning(hub: Hub, pages: Any) -> tuple[list[str], list[str]]:
    """Rows and objects that are left when a branch is long gone, and a repository is deleted, and
    all was cleaned.
    """

    async def clean() -> None:
        opened = await stores()
        repo = await opened.repos.get("me", "song")
        assert repo
        for _ in range(5):
            await gc.run(opened.of(repo), hub.now)
            hub.loop.now += gc_plan.GRACE_SECONDS + 5
        await purge.purge(opened, now=hub.now())

    pages(hub)
    for where in (SONG, {"owner": "me", "slug": "other"}):
        for last in (11, 12, 13):  # each in a pack of its own
            bundle = HISTORY.bundle([1, 4, 5, *range(10, last + 1)] if last == 11 else [last])
            assert hub.call(f"POST {WIRE}/push", where, push(bundle, "gone"), by="me").status == 200
    assert hub.call(f"DELETE {API}/branches", SONG, by="me", query="branch=gone").status == 204
    assert hub.call(f"DELETE {API}/branches", SONG, by="me", query="branch=side").status == 204
    assert hub.call(f"DELETE {API}", {"owner": "me", "slug": "other"}, by="me").status == 204
    assert (
        hub.call(f"POST {WIRE}/push", SONG, push(HISTORY.bundle([9]), force=True), by="me").status
        == 200
    )
    hub.loop.now += 40 * 24 * 3600
    hub.run(clean())
    long(hub)
    assert findings(hub) == []
    rows = [f"{pk} {sk}" for pk, partition in hub.cloud.tables["hub"].items() for sk in partition]
    # Stamps and keys of moves are new each time; how many there are is not.
    return sorted(row for row in rows if "MOVES" not in row), sorted(
        k for k, v in hub.cloud.objects.items() if v
    )


def test_gc_and_purge_leave_the_same(hub: Hub) -> None:
    world, before = hub.cloud.save(), hub.loop.now
    expected = left_after_cleaning(hub, long)
    assert len(expected[1]) < len([key for key, versions in world[1].items() if versions])
    hub.cloud.load(world)
    hub.loop.now = before
    assert left_after_cleaning(hub, short) == expected
