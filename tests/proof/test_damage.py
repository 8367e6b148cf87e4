"""Whatever single thing is lost or spoilt behind the hub's back: no fetch is answered with less,
and fsck says so.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from shared import ids
from shared.objects import keys
from tests.client import Answer, fetched_ids
from tests.proof.asgi_client import Hub
from tests.proof.memory import Cloud, Version
from tests.proof.stories import (
    CONTENTS,
    HISTORY,
    LARGE,
    SONG,
    WIRE,
    commit_with,
    findings,
    prepare,
    push,
)

HEADS = [HISTORY[5], HISTORY[3]]


@pytest.fixture(scope="module")
def hub(aws: Any) -> Iterator[Hub]:
    with Hub(Cloud()) as running:
        yield running


@pytest.fixture(scope="module")
def world(hub: Hub) -> Any:
    prepare(hub)
    bundle = commit_with(5, {"large.wav": LARGE[:-1]}, "a large file")
    assert hub.call(f"POST {WIRE}/push", SONG, push(bundle, "large"), by="me").status == 200
    HEADS.append(bundle["commits"][0]["commit_id"])
    return hub.cloud.save()


def clone(hub: Hub) -> Answer:
    hub.restart()
    return hub.call(f"POST {WIRE}/fetch", SONG, {"want": HEADS}, by="me")


def test_lost_data_is_reported_and_never_left_out(hub: Hub, world: Any) -> None:
    hub.cloud.load(world)
    whole = fetched_ids(clone(hub))
    rows = [(pk, sk) for pk, partition in hub.cloud.tables["hub"].items() for sk in partition]
    missed = 0
    for pk, sk in rows:
        hub.cloud.load(world)
        del hub.cloud.tables["hub"][pk][sk]
        missed += is_missed(hub, whole, f"{pk} {sk}")
    for key in list(hub.cloud.objects):
        hub.cloud.load(world)
        del hub.cloud.objects[key]
        missed += is_missed(hub, whole, key)
    assert missed >= 15


def is_missed(hub: Hub, whole: Any, what: str) -> bool:
    """Whether a fetch failed without it. One that did not has to be whole."""
    answer = clone(hub)
    if answer.status == 200:
        assert fetched_ids(answer) == whole, f"less without {what}"
        return False
    assert answer.code in ("damaged", "repo_not_found", "commit_not_found"), (what, answer)
    if answer.code == "damaged":
        assert findings(hub, ("song",)), f"fsck does not miss {what}"
    return True


def test_a_truncated_object_is_reported(hub: Hub, world: Any) -> None:
    """Every object that the hub itself reads to its end. A client checks the objects that it gets."""
    hub.cloud.load(world)
    whole = fetched_ids(clone(hub))
    for key, versions in list(hub.cloud.objects.items()):
        hub.cloud.load(world)
        last = versions[-1]
        hub.cloud.objects[key] = [Version(last.data[: len(last.data) // 2], "cut", last.modified)]
        answer = clone(hub)
        if answer.status == 200:
            assert fetched_ids(answer) == whole, key
        else:
            assert answer.code == "damaged", (key, answer)


@pytest.mark.parametrize("asked", [{}, {"range": "bytes=1-"}], ids=["whole", "range"])
def test_an_object_of_a_file_that_is_cut_short_is_sent_whole_or_not_at_all(
    hub: Hub, world: Any, asked: dict[str, str]
) -> None:
    hub.cloud.load(world)
    contents = [content for content in {*CONTENTS.values(), LARGE[:-1]} if len(content) > 1]
    urls = {f"GET {WIRE}/objects/{ids.object_id(content)}": content for content in contents}
    damaged = 0
    # Two bytes behind the beginning of a pack the first object is short, and the others are out of
    # range.
    cuts = [
        (key, length)
        for key, stored in hub.cloud.objects.items()
        for length in (10, len(stored[-1].data) // 2)
    ]
    for key, length in cuts:
        hub.cloud.load(world)
        last = hub.cloud.objects[key][-1]
        hub.cloud.objects[key] = [Version(last.data[:length], "cut", last.modified)]
        hub.restart()
        for url, content in urls.items():
            answer = hub.call(url, SONG, by="me", headers=asked)
            if answer.status >= 400:
                assert answer.code in ("damaged", "object_not_found"), answer
                damaged += answer.code == "damaged"
            else:
                assert answer.body == (content[1:] if asked else content), (key, url)
    assert damaged >= 3


def test_a_file_is_damaged_and_not_absent_if_its_object_has_no_row(hub: Hub, world: Any) -> None:
    hub.cloud.load(world)
    path, object_id = next(iter(HISTORY.snapshots[5]["manifest"].items()))
    url = f"GET {WIRE}/raw/main/{path}"
    assert hub.call(url, SONG, by="me").body == CONTENTS[object_id]
    rows = [
        (pk, sk)
        for pk, partition in hub.cloud.tables["hub"].items()
        for sk in partition
        if object_id in pk + sk
    ]
    for pk, sk in rows:
        del hub.cloud.tables["hub"][pk][sk]
    hub.restart()
    answer = hub.call(url, SONG, by="me")
    assert (answer.status, answer.code) == (500, "damaged")


def test_fsck_finds_every_byte_that_is_another(hub: Hub, world: Any) -> None:
    hub.cloud.load(world)
    assert findings(hub, ("song",)) == []
    spoilt = 0
    repo_id = hub.cloud.tables["hub"]["OWNER#me"]["REPO#song"]["repo_id"]["S"]
    wanted = set(HISTORY.objects.values())
    for key, versions in list(hub.cloud.objects.items()):
        for content in wanted:
            at = versions[-1].data.find(content)
            if at < 0 or not key.startswith(keys.packs(repo_id)):
                continue
            hub.cloud.load(world)
            hub.restart()
            data = bytearray(versions[-1].data)
            data[at] ^= 1
            hub.cloud.objects[key] = [Version(bytes(data), "spoilt", versions[-1].modified)]
            assert any("hash" in finding for finding in findings(hub, ("song",))), key
            spoilt += 1
    assert spoilt >= 5
