"""A row whose attribute has another type is damage.

It is never read as a row without that attribute.
"""

from collections.abc import Callable
from typing import Any

import pytest

from shared.actions import fetch, releases, tags
from shared.errors import Damaged
from shared.maintenance import prebuilt_clones, rebuild
from shared.metadata import keys
from shared.model import Sees
from shared.protocol.fetch import Fetch
from shared.protocol.releases import ListReleases, PostRelease
from shared.protocol.tags import ListTags, PostTags
from tests.builders import History, graph
from tests.shared.maintenance.test_gc_stories import REPO, Story
from tests.stores_in_memory import change, partition

DRAWN = graph("1; 2:1; 3:2")


async def pushed() -> Story:
    """A repository whose main is at 3, its commits in one lane."""
    story = Story()
    await story.do(story.push(DRAWN.bundle([1, 2, 3]), DRAWN[3]))
    return story


def row_of(story: Story, drawn: History, number: int) -> dict[str, Any]:
    """The stored row of a commit in its lane."""
    lane = partition(story.cloud, keys.lane("r1", "main"))
    (row,) = (row for sort_key, row in lane.items() if sort_key.endswith(f"#{drawn[number]}"))
    return row


def change_row_of(story: Story, drawn: History, number: int, **attributes: Any) -> None:
    """Write attributes of the stored row of a commit in its lane."""
    row = row_of(story, drawn, number)
    change(story.cloud, row["pk"], row["sk"], **attributes)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("parents", "1#a#main"),
        ("parents", 5),
        ("parents", b""),
        ("parents", ["no place"]),
        ("record", "text"),
    ],
)
@pytest.mark.parametrize("number", [2, 3])
async def test_a_commit_with_a_damaged_row_is_no_root(number: int, name: str, value: Any) -> None:
    story = await pushed()
    change_row_of(story, DRAWN, number, **{name: value})
    for asked in ({"want": [DRAWN[3]]}, {"want": [DRAWN[3]], "have": ["f" * 64]}):
        with pytest.raises(Damaged, match=DRAWN[number]):
            await story.do(story.receive(Fetch.model_validate(asked)))
    with pytest.raises(Damaged, match=DRAWN[number]):
        await story.do(story.gc())
    assert await story.findings()


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [1, 3])
async def test_a_commit_without_its_record_is_never_left_out(number: int) -> None:
    story = await pushed()
    change_row_of(story, DRAWN, number, record=None)
    with pytest.raises(Damaged, match=f"record of commit {DRAWN[number]}"):
        await story.do(story.receive(Fetch(want=[DRAWN[3]])))


@pytest.mark.asyncio
async def test_a_damaged_row_below_the_wanted_commits_is_no_error() -> None:
    story = await pushed()
    change_row_of(story, DRAWN, 1, parents="damaged")
    got = await story.do(story.receive(Fetch(want=[DRAWN[3]], have=[DRAWN[2]])))
    assert [commit["commit_id"] for commit in got["commits"]] == [DRAWN[3]]


@pytest.mark.asyncio
async def test_a_rebuild_writes_a_damaged_row_again() -> None:
    story = await pushed()
    whole = row_of(story, DRAWN, 2)
    change_row_of(story, DRAWN, 2, parents="damaged")
    plan = await story.do(rebuild.plan(story.stores.of(REPO)))
    assert str(plan.writes[0]) == "delete damaged rows of commits in lanes: main"
    assert row_of(story, DRAWN, 2)["parents"] == "damaged", "a plan writes nothing"
    await story.do(rebuild.rebuild(story.stores.of(REPO), now=story.turns.now))
    assert row_of(story, DRAWN, 2)["parents"] == whole["parents"]
    assert await story.findings() == []
    assert len((await story.clone(DRAWN[3]))["commits"]) == 3


@pytest.mark.asyncio
async def test_a_damaged_record_of_a_tag_or_release_is_not_listed_as_an_empty_one() -> None:
    story = await pushed()
    tag = {"tag_id": "t1", "tag": "x", "commit_id": DRAWN[1]}
    await story.do(tags.store(story.stores.of(REPO), PostTags(tags=[tag])))
    release = {"release_id": "one", "tag": "v1", "commit_id": DRAWN[1]}
    await story.do(
        releases.publish(story.stores.of(REPO), PostRelease(release), now=story.turns.now)
    )
    change(story.cloud, keys.tags("r1"), "t1", record="text")
    change(story.cloud, keys.releases("r1"), "TAG#v1", record="text")
    lists: list[Callable[[], Any]] = [
        lambda: tags.listed(story.stores.of(REPO), ListTags()),
        lambda: releases.listed(story.stores.of(REPO), ListReleases(), with_drafts=True),
    ]
    for listed in lists:
        with pytest.raises(Damaged):
            await story.do(listed())


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["heads", "merged", "stored_digests", "ids_digest"])
async def test_a_bundle_with_a_damaged_row_is_as_good_as_none(name: str) -> None:
    story = await pushed()
    assert await story.do(prebuilt_clones.make(story.stores.of(REPO), story.turns.clock))
    change(story.cloud, keys.refs("r1"), "REF-BUNDLE", **{name: "damaged"})
    fetched = await story.do(fetch.fetch(story.stores.of(REPO), Fetch(want=[DRAWN[3]]), Sees.ALL))
    assert fetched.prefix is None
    assert len((await story.clone(DRAWN[3]))["commits"]) == 3
    assert await story.do(story.stores.of(REPO).prebuilt_clones.get()) is None
    assert await story.do(prebuilt_clones.make(story.stores.of(REPO), story.turns.clock))
    assert partition(story.cloud, keys.refs("r1"))["REF-BUNDLE"][name] != "damaged"
    assert await story.do(story.stores.of(REPO).prebuilt_clones.get())
