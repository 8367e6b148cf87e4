"""A request of the wrong shape is refused in the hub's words, all invalid fields at once, each with
its remedy.
"""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from shared import api, refusals, views, wire
from shared.errors import ApiError, TooLarge, Unprocessable
from shared.texts import MESSAGE_CHARACTERS


def refused(shape: type[BaseModel], value: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        wire.parse(shape, value)
    return caught.value


LISTS: dict[str, tuple[type[BaseModel], Any]] = {
    "object_ids": (wire.FilterObjects, {"object_ids": ["x"] * (wire.FILTER_IDS + 1)}),
    "sizes": (wire.Presign, {"sizes": {str(n): 1 for n in range(wire.PRESIGN_IDS + 1)}}),
    "objects": (
        wire.PushObjects,
        {"objects": [{"object_id": "x", "content": b""}] * (wire.OBJECTS + 1)},
    ),
    "commits": (wire.Push, {"branch": "b", "bundle": {"commits": [{}] * (wire.COMMITS + 1)}}),
    "snapshots": (wire.Push, {"branch": "b", "bundle": {"snapshots": [{}] * (wire.SNAPSHOTS + 1)}}),
    "manifest": (
        wire.SnapshotRecord,
        {"snapshot_id": "s", "manifest": {str(n): "x" for n in range(wire.MANIFEST_ENTRIES + 1)}},
    ),
    "want": (wire.Fetch, {"want": ["x"] * (wire.WANTS + 1)}),
    "have": (wire.Fetch, {"have": ["x"] * (wire.HAVES + 1)}),
    "bases": (wire.Fetch, {"bases": {str(number): "0" * 64 for number in range(wire.BASES + 1)}}),
    "changelog": (
        wire.ReleaseRecord,
        {
            "release_id": "r",
            "tag": "t",
            "commit_id": "c",
            "changelog": [{}] * (wire.CHANGELOG_ENTRIES + 1),
        },
    ),
    "tags": (wire.PostTags, {"tags": [{}] * (wire.TAGS + 1)}),
}


@pytest.mark.parametrize("field", LISTS)
def test_a_list_over_its_limit_is_refused_with_the_limit_and_the_remedy(field: str) -> None:
    error = refused(*LISTS[field])
    assert isinstance(error, TooLarge)
    assert field in error.message and refusals.REMEDIES[field] in error.message
    assert "after validation" not in error.message and not error.message.endswith("…")


def test_every_list_with_a_limit_has_a_remedy() -> None:
    shapes = [
        shape
        for shape in vars(wire).values()
        if isinstance(shape, type) and issubclass(shape, BaseModel)
    ]
    limited = {
        name
        for shape in shapes
        for name, field in shape.model_fields.items()
        if any(hasattr(rule, "max_length") for rule in field.metadata)
        and field.annotation is not str
    }
    assert limited == refusals.REMEDIES.keys()


@pytest.mark.parametrize(
    ("shape", "value", "words"),
    [
        (wire.Push, {}, ["at bundle: is missing", "at branch: is missing"]),
        (
            wire.Presign,
            {"direction": "get", "ttl_seconds": 5},
            ["must be one of 'put'", "must be at least 30"],
        ),
        (wire.Presign, {"object_ids": "x"}, ["at object_ids: must be a list"]),
        (
            wire.PushObjects,
            {"objects": [{"object_id": 5, "content": 5}]},
            ["must be text", "must be bytes"],
        ),
        (
            wire.Push,
            {"bundle": [], "branch": None, "force": 1},
            ["must be a map", "must be text", "true or false"],
        ),
        (api.RepoChange, {"descripton": "x"}, ["at descripton: is not known here"]),
        (api.RepoChange, {"description": "x" * 5000}, ["must have at most 1000 characters"]),
        (api.NewRepo, {}, ["send either a slug or a name"]),
        (api.PageQuery, {"limit": "many"}, ["at limit: must be a whole number"]),
        (views.BranchQuery, {"branch": ""}, ["must have at least 1 characters"]),
    ],
    ids=str,
)
def test_all_invalid_fields_are_named_in_the_words_of_the_hub(
    shape: type[BaseModel], value: Any, words: list[str]
) -> None:
    error = refused(shape, value)
    assert isinstance(error, Unprocessable)
    for word in words:
        assert word in error.message
    for word in ("Input should", "Field required", "Extra inputs", "Value error"):
        assert word not in error.message


def test_many_invalid_fields_are_counted() -> None:
    error = refused(wire.FilterObjects, {"object_ids": list(range(1000))})
    assert "and 99" in error.message and error.message.endswith("more")
    assert len(json.dumps(error.message)) - 2 <= MESSAGE_CHARACTERS
