"""purge deletes all data of a deleted repository, in several runs if needed, and no other data."""

import time
from typing import Any

import httpx
import pytest
from boto3.dynamodb.conditions import Key

from shared.actions.repos import UNDELETE_SECONDS
from shared.maintenance.purge import Purged, plan, purge
from shared.metadata import keys
from shared.model import Repo, Role
from shared.objects import keys as object_keys
from shared.stores import Stores
from tests.builders import blob, graph
from tests.client import call, heads, push
from tests.conftest import NAMES
from tests.shared.maintenance.upkeep import Bytes, clone, repo, rows, run, s3, table

LATER = UNDELETE_SECONDS + 60


def purged(*, after: float = LATER, **options: Any) -> Purged:
    return run(lambda stores: purge(stores, now=time.time() + after, **options))


def delete(owner: str) -> str:
    found = repo(owner)

    async def work(stores: Stores) -> None:
        await stores.repos.delete(found, int(time.time()))

    run(work)
    return found.repo_id


@pytest.fixture
def gone(owner: str) -> str:
    """A repository with two lines, history replaced by force, and something in quarantine;
    deleted.
    """
    drawn = graph("1; 2:1; 3:1", salt=owner)
    assert push(owner, "song", drawn.bundle([1, 2])).status == 200
    assert push(owner, "song", drawn.bundle([1, 3]), branch="side/line").status == 200
    bundle = drawn.bundle([1, 2])
    bundle["commits"] = [{**record, "author": "Bob"} for record in bundle["commits"]]
    assert push(owner, "song", bundle, force=True).status == 200
    assert (
        call("push_objects", owner, "song", {"objects": [blob(b"alone")]}, by=owner).status == 200
    )
    return delete(owner)


def is_waiting(owner: str, repo_id: str) -> bool:
    return "Item" in table().get_item(
        Key=dict(zip(("pk", "sk"), keys.deleted(owner, repo_id), strict=True))
    )


def test_nothing_is_left_of_a_deleted_repository(owner: str, gone: str) -> None:
    done = purged()
    assert done.done >= 1 and done.bytes > 0
    assert rows(gone, "") == []
    assert Bytes(gone).versions() == 0
    assert not is_waiting(owner, gone)


def test_uploads_and_staged_bodies_of_a_deleted_repository_are_removed(owner: str) -> None:
    content = b"uploaded, and no push names it"
    asked = call(
        "presign", owner, "song", {"object_ids": [blob(content)["object_id"]]}, by=owner
    ).value
    address = call(
        "staging", owner, "song", {"route": "push", "size": len(content)}, by=owner
    ).value
    for url in (*asked["presigned"].values(), address["url"]):
        assert httpx.put(url, content=content).status_code == 200
    repo_id = delete(owner)
    prefix = object_keys.uploads(repo_id)
    assert len(s3().list_object_versions(Bucket=NAMES["Bucket"], Prefix=prefix)["Versions"]) == 2
    purged()
    assert "Versions" not in s3().list_object_versions(Bucket=NAMES["Bucket"], Prefix=prefix)


def test_no_row_with_its_name_or_owner_is_left(owner: str) -> None:
    """But the name stays a deleted one: a push to it must not make it again, and in public."""

    async def work(stores: Stores) -> str:
        now = int(time.time())
        old = await stores.repos.create(Repo(owner, "secret", description="plans"), now)
        assert old
        await stores.members.set(old, "bob", Role.READ)
        new = await stores.repos.rename(old, "song", now)
        assert new
        await stores.members.set(new, "carol", Role.READ)
        other = await stores.repos.create(Repo(owner, "other", description="stays"), now)
        assert other
        await stores.members.set(other, "dave", Role.READ)
        return old.repo_id

    repo_id = run(work)
    assert delete(owner) == repo_id
    assert run(
        lambda stores: stores.repos.create(
            Repo(owner, "secret", description="a new one"), int(time.time())
        )
    )
    purged()
    members = table().query(KeyConditionExpression=Key("pk").eq(f"MEMBERS#{owner}"))["Items"]
    assert [row["sk"] for row in members] == ["@dave#other", "other#dave"]
    left = table().query(KeyConditionExpression=Key("pk").eq(f"OWNER#{owner}"))["Items"]
    told = {row["sk"]: row["description"] for row in left if row["sk"].startswith("REPO#")}
    assert told == {"REPO#other": "stays", "REPO#secret": "a new one", "REPO#song": ""}
    assert push(owner, "song", graph("1").bundle()).status == 404


def test_it_is_left_alone_for_a_day(owner: str, gone: str) -> None:
    before = len(rows(gone, ""))
    assert purged(after=3600).waiting >= 1
    assert len(rows(gone, "")) == before


def test_a_dry_run_removes_nothing(owner: str, gone: str) -> None:
    before = len(rows(gone, "")), Bytes(gone).versions()
    assert run(plan).waiting >= 1
    assert (len(rows(gone, "")), Bytes(gone).versions()) == before


def test_it_goes_on_where_it_was_stopped(owner: str, gone: str) -> None:
    runs = 0
    while is_waiting(owner, gone):
        purged(limit=20)
        runs += 1
        assert runs < 100
    assert runs > 1
    assert rows(gone, "") == []
    assert Bytes(gone).versions() == 0


def test_others_and_a_new_repository_of_the_same_name_stay(owner: str, gone: str) -> None:
    drawn = graph("1; 2:1", salt=owner)
    assert run(lambda stores: stores.repos.create(Repo(owner, "song"), int(time.time())))
    assert push(owner, "song", drawn.bundle()).status == 200
    before = clone(owner)
    purged()
    assert clone(owner) == before
    assert heads(owner, "song") == {"main": drawn[2]}


def test_a_repository_that_is_not_deleted_after_all_is_not_touched(owner: str) -> None:
    drawn = graph("1", salt=owner)
    assert push(owner, "song", drawn.bundle()).status == 200
    found = repo(owner)
    pk, sk = keys.deleted(owner, found.repo_id)
    table().put_item(Item={"pk": pk, "sk": sk, "owner": owner, "slug": "song", "deleted_at": 1})
    purged()
    assert heads(owner, "song") == {"main": drawn[1]}
    table().delete_item(Key={"pk": pk, "sk": sk})
