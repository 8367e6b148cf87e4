"""The hub in containers: asked like a server, measured request by request."""

import pytest

from bench import client, lambdas
from bench.differences import differences
from bench.history import Line, generate
from bench.lambdas import BASE, Hub


@pytest.fixture
def hub(owner, monkeypatch):
    monkeypatch.setattr(lambdas, "OWNER", owner)
    with Hub() as running:
        yield running


def test_a_clone_has_the_bytes_of_the_push(hub, owner):
    history, url = generate(3, commits=5, files=8, objects=20), f"{BASE}/{owner}/song"
    client.push(url, lambdas.token(owner), history, transport=hub.transport())
    cloned = client.clone(url, hub.transport())
    assert differences(history, cloned) == []

    object_id = next(iter(history.objects))
    cloned.bundle["objects"][0]["content"] += b"!"
    cloned.bundle["commits"].pop()
    assert len(differences(history, cloned)) == 3
    assert object_id in history.objects


def test_each_request_is_counted_by_itself(hub, owner):
    line, url, token = Line(1, 10), f"{BASE}/{owner}/song", lambdas.token(owner)
    client.push(url, token, line.commit(), transport=hub.transport())
    hub.served.clear()
    hub.watch = "calls"
    client.push(url, token, line.commit(2), transport=hub.transport())
    assert [one.function for one in hub.served] == [
        "refs",
        "filter_objects",
        "push_objects",
        "push",
    ]
    assert [one.status for one in hub.served] == [200] * 4
    for one in hub.served:
        assert one.meter.calls >= one.meter.longest_chain() > 0
        assert one.began < min(call.entered for call in one.meter.log)
        assert one.ended > max(call.left or 0 for call in one.meter.log)
        assert one.meter.by_operation()["dynamodb.UpdateItem"] >= 1
    assert [one.received > 0 for one in hub.served] == [False, True, True, True]

    hub.served.clear()
    hub.watch = "time"
    client.clone(url, hub.transport())
    assert [(one.function, one.meter.calls, one.cpu_seconds > 0) for one in hub.served] == [
        ("refs", 0, True),
        ("fetch", 0, True),
    ]


def test_a_pull_brings_the_new_commits(hub, owner):
    line, url, token = Line(1, 10), f"{BASE}/{owner}/song", lambdas.token(owner)
    first = line.commit()
    client.push(url, token, first, transport=hub.transport())
    second = line.commit(1)
    client.push(url, token, second, transport=hub.transport())
    pulled = client.pull(url, token, [first.head], transport=hub.transport())
    assert [one["commit_id"] for one in pulled.bundle["commits"]] == [second.head]
    assert [one["object_id"] for one in pulled.bundle["objects"]] == list(second.objects)


def test_a_container_forgets_its_state_on_request(hub, owner):
    """The next request opens new connections, and succeeds."""
    line, url, token = Line(1, 3), f"{BASE}/{owner}/song", lambdas.token(owner)
    client.push(url, token, line.commit(), transport=hub.transport())
    hub.forget()
    assert client.clone(url, hub.transport()).refs["branch_heads"] == {"main": line.tip}


def test_the_table_of_endpoints_states_the_size_of_each_function():
    memory = lambdas.memory_mb()
    assert memory["push"] == 1769
    assert memory["refs"] == lambdas.MEMORY_MB
    assert lambdas.function_of("POST", "/me/song/push/objects") == "push_objects"
    assert lambdas.function_of("GET", "/api/v1/me") in memory
