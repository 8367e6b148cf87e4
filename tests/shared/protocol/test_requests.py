"""Requests are validated: types are strict, unknown keys are ignored, and lists have limits."""

from typing import Any

import pytest
from pydantic import BaseModel

from infra import openapi
from shared import auth
from shared.errors import TooLarge, Unprocessable
from shared.protocol import limits
from shared.protocol.base import ResponseModel, parse
from shared.protocol.fetch import Fetch, FetchHistory, FetchObjects, Negotiate
from shared.protocol.push import FilterObjects, Presign, Push, PushObjects, WireBundle
from shared.protocol.records import CommitRecord, SemVer, SnapshotRecord

A = "a" * 64

EMPTY_BUNDLE: dict[str, Any] = {"commits": [], "snapshots": [], "objects": [], "branch_heads": {}}


@pytest.mark.parametrize(
    ("shape", "value", "expected"),
    [
        (FilterObjects, {}, {"object_ids": []}),
        (
            Presign,
            {},
            {"object_ids": [], "direction": "put", "ttl_seconds": 3600, "sizes": {}},
        ),
        (PushObjects, {}, {"objects": []}),
        (Negotiate, {}, {"want": [], "have": []}),
        (Fetch, {}, {"want": [], "have": [], "bases": {}}),
        (FetchHistory, {}, {"want": [], "have": [], "bases": {}}),
        (FetchObjects, {}, {"object_ids": []}),
        (
            Push,
            {"bundle": {}, "branch": "main"},
            {"bundle": EMPTY_BUNDLE, "branch": "main", "force": False},
        ),
    ],
)
def test_an_absent_field_is_empty(shape, value, expected):
    assert parse(shape, value).model_dump() == expected


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        (Fetch, {"want": [A], "have": [], "depth": 1}),
        (Push, {"bundle": {"tags": []}, "branch": "main", "force": True, "dry_run": 1}),
        (PushObjects, {"objects": [{"object_id": "a", "content": b"", "path": "x"}]}),
        (Presign, {"object_ids": [A], "direction": "put", "ttl_seconds": 30}),
    ],
)
def test_unknown_keys_are_ignored(shape, value):
    kept = parse(shape, value).model_dump()
    assert not kept.keys() & {"depth", "dry_run"}
    assert "path" not in str(kept)
    assert "tags" not in kept.get("bundle", {})


def test_unknown_keys_of_a_record_are_kept():
    sent = {"bundle": {"commits": [{"unheard_of": 1}], "snapshots": [{"x": b""}]}, "branch": "main"}
    parsed = parse(Push, sent)
    assert parsed.bundle.commits == [{"unheard_of": 1}]
    assert parsed.bundle.snapshots == [{"x": b""}]


@pytest.mark.parametrize(
    ("shape", "value", "where"),
    [
        pytest.param(Fetch, {"want": "a"}, "want", id="a text for a list"),
        pytest.param(Fetch, {"want": [5]}, "want.0", id="a number for an id"),
        pytest.param(Fetch, {"want": [b"a"]}, "want.0", id="bytes for an id"),
        pytest.param(Fetch, {"want": None}, "want", id="nothing for a list"),
        pytest.param(Push, {"branch": "main"}, "bundle", id="no bundle"),
        pytest.param(Push, {"bundle": {}}, "branch", id="no branch"),
        pytest.param(
            Push,
            {"bundle": {}, "branch": "m", "force": "true"},
            "force",
            id="a text for a flag",
        ),
        pytest.param(
            Push, {"bundle": {}, "branch": "m", "force": 1}, "force", id="a number for a flag"
        ),
        pytest.param(Push, {"bundle": [], "branch": "m"}, "bundle", id="a list for a bundle"),
        pytest.param(
            Push,
            {"bundle": {"commits": [5]}, "branch": "m"},
            "bundle.commits.0",
            id="a number for a record",
        ),
        pytest.param(
            PushObjects,
            {"objects": [{"object_id": "a"}]},
            "objects.0.content",
            id="no content",
        ),
        pytest.param(
            PushObjects,
            {"objects": [{"object_id": "a", "content": "x"}]},
            "objects.0.content",
            id="text for bytes",
        ),
        pytest.param(
            Presign, {"direction": "get"}, "direction", id="a direction that is not offered"
        ),
        pytest.param(Presign, {"ttl_seconds": 29}, "ttl_seconds", id="too short a life"),
        pytest.param(Presign, {"ttl_seconds": 3601}, "ttl_seconds", id="too long a life"),
        pytest.param(Presign, {"ttl_seconds": 60.0}, "ttl_seconds", id="a fraction for seconds"),
    ],
)
def test_another_shape_is_refused_saying_where(shape, value, where):
    with pytest.raises(Unprocessable, match=f"^the body, at {where}: "):
        parse(shape, value)


@pytest.mark.parametrize(
    ("shape", "key", "limit", "item"),
    [
        (FilterObjects, "object_ids", limits.FILTER_IDS, A),
        (Presign, "object_ids", limits.PRESIGN_IDS, A),
        (PushObjects, "objects", limits.OBJECTS, {"object_id": "a", "content": b""}),
        (Negotiate, "want", limits.NEGOTIATE_IDS, A),
        (Negotiate, "have", limits.NEGOTIATE_IDS, A),
        (Fetch, "want", limits.WANTS, A),
        (Fetch, "have", limits.HAVES, A),
        (WireBundle, "commits", limits.COMMITS, {}),
        (WireBundle, "snapshots", limits.SNAPSHOTS, {}),
        (WireBundle, "objects", limits.OBJECTS, {"object_id": "a", "content": b""}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_lists_have_limits(shape, key, limit, item):
    assert len(getattr(parse(shape, {key: [item] * limit}), key)) == limit
    with pytest.raises(TooLarge, match=f"at {key}: .*more than {limit} entries") as refused:
        parse(shape, {key: [item] * (limit + 1)})
    assert refused.value.status == 413


SENT = [
    model
    for model in (*openapi.models().values(), *vars(auth).values())
    if isinstance(model, type)
    and issubclass(model, BaseModel)
    and model is not BaseModel
    and not issubclass(model, ResponseModel)
]


def test_every_number_that_a_caller_sends_has_a_range() -> None:
    numbers = []
    for shape in SENT:
        schema = shape.model_json_schema()
        for name, field in schema.get("properties", {}).items():
            for kind in (field, *field.get("anyOf", ())):
                if kind.get("type") in ("integer", "number"):
                    numbers.append(name)
                    assert {
                        "minimum",
                        "maximum",
                    } <= kind.keys(), f"{shape.__name__}.{name} has no range"
    assert {
        "test_runs",
        "format_version",
        "major",
        "ttl_seconds",
        "limit",
        "lifetime_seconds",
        "exp",
    } <= {*numbers}


@pytest.mark.parametrize(
    "count", [-1, limits.LARGEST_COUNT + 1, 2**63, 2**64 - 1, 1.0, True, "1", None]
)
@pytest.mark.parametrize(
    ("shape", "name"),
    [
        (CommitRecord, "test_runs"),
        (CommitRecord, "format_version"),
        (SemVer, "major"),
        (SemVer, "minor"),
        (SemVer, "patch"),
    ],
)
def test_a_count_of_a_record_that_is_out_of_range_is_refused(
    shape: type[BaseModel], name: str, count: Any
) -> None:
    for good in (0, 1, limits.LARGEST_COUNT):
        parse(shape, {"commit_id": "c", name: good})
    with pytest.raises(Unprocessable, match=f"at {name}"):
        parse(shape, {"commit_id": "c", name: count})


def test_a_manifest_has_a_limit():
    manifest = {str(n): A for n in range(limits.MANIFEST_ENTRIES + 1)}
    with pytest.raises(TooLarge, match="a snapshot, at manifest"):
        parse(SnapshotRecord, {"snapshot_id": "s", "manifest": manifest}, "a snapshot")


def test_an_error_does_not_repeat_the_request():
    with pytest.raises(Unprocessable) as refused:
        parse(Fetch, {"want": [{"password": "hunter2"}]})
    assert "hunter2" not in refused.value.message


def test_a_complaint_about_a_hostile_key_is_short():
    with pytest.raises(Unprocessable) as refused:
        parse(CommitRecord, {"commit_id": "c", "metadata": {"k" * 10_000: 5}})
    assert len(refused.value.message) < 200


@pytest.mark.parametrize("shape", [Fetch, Push, CommitRecord, SnapshotRecord])
@pytest.mark.parametrize("value", [None, 5, True, "x", b"", []], ids=repr)
def test_a_body_that_is_no_map_is_refused(shape: type[BaseModel], value):
    with pytest.raises(Unprocessable):
        parse(shape, value)
