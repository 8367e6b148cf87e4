"""Upkeep in its deployed function, under its role: a gc, a check, a prebuilt clone and a purge."""

import json
from typing import Any

import pytest

from infra.cloud.deployment import Stack
from shared.metadata import keys
from shared.stores import Stores
from tests.client import fetch, heads, push
from tests.functions import api
from tests.shared.maintenance import upkeep
from tests.shared.maintenance.kept_hub import DAY, head, take

pytestmark = pytest.mark.cloud

HOURS = 7300


def run_upkeep(stack: Stack) -> dict[str, int]:
    """Invoke the function, as the schedule does. Returns what it has done."""
    name = stack.resources()["UpkeepFunction"]
    reply = stack.client("lambda").invoke(FunctionName=name, Payload=b"{}")
    result: Any = json.loads(reply["Payload"].read())
    assert result["failed"] == result["postponed"] == result["left"] == 0, result
    done: dict[str, int] = result["done"]
    return done


def age(key: keys.Key, name: str, seconds: int) -> None:
    """Make the time in a row earlier."""

    async def earlier(stores: Stores) -> None:
        row = await stores.hub.get(key)
        assert row
        await stores.hub.update(key, {name: int(str(row[name])) - seconds})

    upkeep.run(earlier)


@pytest.mark.usefixtures("deployed")
def test_upkeep_keeps_a_repository_and_purges_it(stack: Stack, owner: str) -> None:
    api.create(owner, "song")
    first = take({"a.txt": b"first"})
    second = take({"a.txt": b"second"}, head(first))
    for bundle, force in ((first, False), (second, False), (take({"b.txt": b"other"}), True)):
        assert push(owner, "song", bundle, force=force).status == 200
    repo_id = upkeep.repo(owner).repo_id
    for work in ("gc", "clone", "check", "repack"):
        upkeep.put_due(owner, work, 1)
    assert run_upkeep(stack).keys() == {"gc", "clone", "check", "repack"}
    for _ in ("sweep", "collect"):
        age((keys.upkeep(repo_id), "STATE"), "at", HOURS)
        assert run_upkeep(stack) == {"gc": 1}
    answer = fetch(owner, "song", [*heads(owner, "song", by=owner).values()], by=owner)
    assert [one["message"] for one in answer.value["commits"]] == ["take"]
    assert api.call("repos", "DELETE", f"/repos/{owner}/song", by=owner).status == 204
    upkeep.put_due_of(repo_id, "purge", 1)
    age(keys.deleted(owner, repo_id), "deleted_at", 2 * DAY)
    assert run_upkeep(stack) == {"purge": 1}
    assert upkeep.rows(repo_id, "") == []


def test_a_schedule_starts_the_function_every_hour(stack: Stack) -> None:
    names = stack.resources()
    events = stack.client("events")
    rule = names["UpkeepSchedule"].rpartition("/")[2]
    assert events.describe_rule(Name=rule)["ScheduleExpression"] == "rate(1 hour)"
    [target] = events.list_targets_by_rule(Rule=rule)["Targets"]
    assert target["Arn"].endswith(f":function:{names['UpkeepFunction']}")
