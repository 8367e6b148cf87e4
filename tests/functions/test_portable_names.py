"""Names that a clone on Windows or macOS loses or cannot write: refused or warned of, as the
repository asks.
"""

import json

import boto3
import pytest

from shared.metadata import keys
from tests.builders import file_history
from tests.client import Answer, call, heads, push
from tests.conftest import NAMES
from tests.functions import api

ONE_ON_DISK = [
    (["Readme.md", "README.md"], "'README.md' beside 'Readme.md'"),
    (["\u00e9.mid", "e\u0301.mid"], "'e\\u0301.mid' beside '\\xe9.mid'"),
    (["Src/a", "src/b"], "'Src' beside 'src'"),
    (["a/Src/x/1", "a/src-1/2", "a/src/y/3"], "'a/Src' beside 'a/src'"),
    (["R", "r-z", "r/x"], "'R' beside 'r'"),
    (["stra\u00dfe", "STRASSE"], "'STRASSE' beside 'stra\\xdfe'"),
]
UNWRITABLE = [
    "aux.mid",
    "AUX",
    "a/con/b",
    "NUL .txt",
    "com1.tar.gz",
    "lpt\u00b2",
    "mix: final.wav",
    'a"b',
    "a<b",
    "what?",
    "*",
    "a|b",
    "end.",
    "end./a",
    "end ",
]
PORTABLE = [
    "auxiliary.mid",
    "a.aux",
    "com",
    "com10",
    "console",
    ".gitignore",
    "a.b.c",
    "\u65e5\u672c.mid",
    " a",
    "a&b",
]


def refused(answer: Answer) -> str:
    assert (answer.status, answer.code) == (422, "not_portable"), answer.body
    message: str = answer.value["message"]
    assert json.dumps(message, ensure_ascii=False) in answer.body.decode()[:400], (
        "the client shows 400 characters"
    )
    return message


def set_rule(owner: str, word: str) -> None:
    answer = api.call("repos", "PATCH", f"/repos/{owner}/song", {"portable_names": word}, by=owner)
    assert (answer.status, answer.value["portable_names"]) == (200, word)


@pytest.mark.parametrize(("paths", "shown"), ONE_ON_DISK, ids=lambda value: ascii(value))
def test_two_names_that_are_one_on_disk_are_refused_and_named(owner, paths, shown):
    api.create(owner, "song")
    history = file_history(["a.mid"], ["a.mid", *paths])
    message = refused(push(owner, "song", history.bundle()))
    assert f"not portable: {shown}. Since commit {history[2]}:" in message
    assert f"run `muse reset --soft {history[1][:12]}`" in message
    assert message.endswith("or set portable_names to off")
    assert heads(owner, "song") == {}


@pytest.mark.parametrize("path", UNWRITABLE)
def test_a_name_that_windows_cannot_write_is_refused_and_named(owner, path):
    api.create(owner, "song")
    assert ascii(path) in refused(push(owner, "song", file_history([path]).bundle()))


def test_portable_names_are_accepted(owner):
    api.create(owner, "song")
    assert push(owner, "song", file_history(PORTABLE).bundle()).status == 200


def test_a_file_with_a_new_letter_case_is_accepted_since_no_snapshot_has_both(owner):
    api.create(owner, "song")
    history = file_history(["Readme.md", "a"], ["README.md", "a"], ["README.md", "a", "b"])
    assert push(owner, "song", history.bundle()).status == 200


def test_a_refusal_names_as_many_paths_as_fit(owner):
    api.create(owner, "song")
    message = refused(push(owner, "song", file_history([f"{n}?" for n in range(50)]).bundle()))
    assert "not portable: '0?', '10?', '11?', '12?' and 46 more." in message
    long_ones = [f"{n:040}?" for n in range(50)]
    assert "more. Since commit" in refused(push(owner, "song", file_history(long_ones).bundle()))


@pytest.mark.parametrize("branch", ["aux", "what?", "a/end "])
def test_a_new_branch_is_refused_that_is_no_file_on_windows(owner, branch):
    api.create(owner, "song")
    history = file_history(["a"])
    assert ascii(branch) in refused(push(owner, "song", history.bundle(), branch=branch))
    set_rule(owner, "off")
    assert push(owner, "song", history.bundle(), branch=branch).status == 200
    set_rule(owner, "on")
    assert push(owner, "song", file_history(["a"], ["b"]).bundle(), branch=branch).status == 200, (
        "it exists"
    )


def test_the_owner_can_allow_such_names_and_is_warned(owner):
    api.create(owner, "song")
    history = file_history(["aux.mid", "A", "a"])
    refused(push(owner, "song", history.bundle()))
    set_rule(owner, "off")
    assert api.get(owner, "song").value["portable_names"] == "off"
    accepted = push(owner, "song", history.bundle())
    assert accepted.status == 200
    assert accepted.value["message"].startswith(
        f"main is at {history[1]}; not portable: 'A' beside 'a'."
    )
    assert "not portable: 'aux.mid'." in accepted.value["message"]


def test_a_history_that_was_accepted_stays_acceptable(owner):
    api.create(owner, "song")
    set_rule(owner, "off")
    history = file_history(["aux.mid"], ["aux.mid", "b"], ["b"], ["aux.mid", "c"])
    assert push(owner, "song", history.bundle([1, 2])).status == 200
    set_rule(owner, "on")
    assert push(owner, "song", history.bundle([1, 2, 3]), branch="topic").status == 200, (
        "the client sends it again"
    )
    refused(push(owner, "song", history.bundle([4]), branch="topic"))


def test_a_created_repository_refuses_names_that_a_clone_would_lose_and_warns_of_others(
    owner,
):
    refused(push(owner, "song", file_history(["A", "a"]).bundle()))
    accepted = push(owner, "song", file_history(["aux.mid"]).bundle())
    assert accepted.status == 200
    assert "not portable: 'aux.mid'" in accepted.value["message"]
    assert api.get(owner, "song").value["portable_names"] == "distinct"


def test_a_repository_from_before_the_setting_accepts_all_names(owner):
    api.create(owner, "song")
    pk, sk = keys.repo(owner, "song")
    boto3.resource("dynamodb").Table(NAMES["HubTable"]).update_item(
        Key={"pk": pk, "sk": sk}, UpdateExpression="REMOVE portable_names"
    )
    assert api.get(owner, "song").value["portable_names"] == "off"
    assert push(owner, "song", file_history(["A", "a", "aux"]).bundle()).status == 200
    assert call("refs", owner, "song").status == 200


def test_a_repository_keeps_the_setting_under_another_name(owner):
    api.create(owner, "song", portable_names="off")
    answer = api.call("repos", "POST", f"/repos/{owner}/song/rename", {"slug": "other"}, by=owner)
    assert answer.value["portable_names"] == "off"


@pytest.mark.parametrize("value", [True, "yes", 1, ""])
def test_a_setting_that_is_none_is_refused(owner, value):
    api.create(owner, "song")
    answer = api.call("repos", "PATCH", f"/repos/{owner}/song", {"portable_names": value}, by=owner)
    assert (answer.status, answer.code) == (422, "invalid")
