"""The data and the assertions that the cases share.

Four objects, four snapshots, seven commits; a digest names each, so `C2` is both the commit and its
id:

    C1 ── C2 ─┐          R (a root of its own, on S1)
     │        M
     ├─── CX ─┘          S0 e.txt    S1 a.txt    S2 a.txt b.txt    S3 a.txt b.txt c.txt
     └─── CE                O0          O1          O1    O2          O1    O2    O3
          C2 ── C3
"""

import asyncio
import copy
import functools
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from bench.meter import Meter
from shared.engines import selection
from shared.metadata import keys
from shared.metadata.conditions import Exists
from tests import builders, client
from tests.builders import Record
from tests.client import Answer

_witnesses = itertools.count()

CONTENTS: dict[str, bytes] = {}
SNAPSHOTS: dict[str, Record] = {}
COMMITS: dict[str, Record] = {}


def _object(content: bytes) -> str:
    object_id: str = builders.blob(content)["object_id"]
    CONTENTS[object_id] = content
    return object_id


def _snapshot(manifest: Mapping[str, str]) -> str:
    record = builders.snapshot(manifest)
    snapshot_id: str = record["snapshot_id"]
    SNAPSHOTS[snapshot_id] = record
    return snapshot_id


def _commit(message: str, minute: int, snapshot_id: str, *parents: str) -> str:
    record = builders.commit(message, parents, snapshot_id, f"2026-01-01T00:{minute:02}:00+00:00")
    commit_id: str = record["commit_id"]
    COMMITS[commit_id] = record
    return commit_id


O0 = _object(b"")
O1 = _object(b"hello\n")
O2 = _object(b"world\n")
O3 = _object(b"third\n")

S0 = _snapshot({"e.txt": O0})
S1 = _snapshot({"a.txt": O1})
S2 = _snapshot({"a.txt": O1, "b.txt": O2})
S3 = _snapshot({"a.txt": O1, "b.txt": O2, "c.txt": O3})

C1 = _commit("one", 0, S1)
C2 = _commit("two", 1, S2, C1)
C3 = _commit("three", 2, S3, C2)
CX = _commit("sibling", 3, S3, C1)
M = _commit("merge", 4, S3, C2, CX)
R = _commit("unrelated", 5, S1)
CE = _commit("empty file", 6, S0, C1)

UNKNOWN = "f" * 64
"""A digest of nothing that any test stores."""


NO_IDS: list[tuple[str, Any]] = [
    ("upper-case hex", O1.upper()),
    ("one digit too few", O1[:-1]),
    ("one digit too many", O1 + "0"),
    ("a digit that is none", "g" + O1[1:]),
    ("a prefix", f"sha256:{O1}"),
    ("a path", "../../etc/x"),
    ("an absolute path", "/etc/x"),
    ("dots", ".."),
    ("a newline after it", O1 + "\n"),
    ("a space before it", " " + O1),
    ("a NUL in it", "ab\0cd"),
    ("200 digits", "a" * 200),
    ("empty", ""),
    ("a number", 7),
    ("null", None),
    ("bytes", bytes.fromhex(O1)),
]
"""What an id must not be, and what that is."""


def blobs(*object_ids: str) -> list[Record]:
    """These objects as they are pushed."""
    return [builders.blob(CONTENTS[object_id]) for object_id in object_ids]


def bundle(*commit_ids: str, objects: bool = True) -> Record:
    """The bundle of a push of these commits, in this order; its objects inline, so that one call is
    enough.

    The records are copies: a test may change them.
    """
    commits = [copy.deepcopy(COMMITS[commit_id]) for commit_id in commit_ids]
    snapshots = [
        copy.deepcopy(SNAPSHOTS[i])
        for i in dict.fromkeys(commit["snapshot_id"] for commit in commits)
    ]
    named = dict.fromkeys(i for snapshot in snapshots for i in snapshot["manifest"].values())
    return {"commits": commits, "snapshots": snapshots, "objects": blobs(*named) if objects else []}


def spoilt(commit: str, **fields: Any) -> Record:
    """A push of one commit in which some fields are not what its id was made of."""
    sent = bundle(commit)
    sent["commits"][0] |= fields
    return sent


def truly(*commits: Record, on: Iterable[Record] = ()) -> Record:
    """A push of records that were built to be odd, but with true ids."""
    return {"commits": list(commits), "snapshots": list(on), "objects": blobs(O1)}


def on_manifest(manifest: Mapping[str, str]) -> Record:
    """A push of one root commit on this manifest, all ids true. `O1` comes along."""
    snapshot = builders.snapshot(manifest)
    return truly(builders.commit("a tree", snapshot_id=snapshot["snapshot_id"]), on=[snapshot])


MESSAGES: dict[str, Any] = {
    "refs": None,
    "fetch": {"want": [C1]},
    "fetch_history": {"want": [C1]},
    "fetch_objects": {"object_ids": [O1]},
    "negotiate": {"want": [C1], "have": [C1]},
    "filter_objects": {"object_ids": [O1]},
    "presign": {"object_ids": [O1]},
    "staging": {"route": "push", "size": 1},
    "push_objects": {"objects": blobs(O3)},
    "push": {"bundle": bundle(C2), "branch": "main", "force": True},
}
"""A request to every endpoint that its owner may make."""


def case(number: str, says: str, *values: Any) -> Any:
    """A row of a table of cases."""
    return pytest.param(*values, id=f"{number}-{says}")


def texts(number: str, *values: str) -> list[Any]:
    """Rows of a table of texts that speak for themselves."""
    return [
        case(number, ascii(v) if len(v) <= 40 else f"{v[:2]!a} and so on, {len(v)} long", v)
        for v in values
    ]


def no_ids(number: str) -> list[Any]:
    """Rows of a table of invalid ids."""
    return [case(number, says, value) for says, value in NO_IDS]


def assert_accepted(answer: Answer) -> Record:
    """The answer is a msgpack map, and good news. Returns it."""
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == client.MSGPACK
    value = answer.value
    assert isinstance(value, dict)
    return value


def assert_costs(meter: Meter, calls: int, chain: int) -> None:
    """Limit the AWS calls of a request, and those that waited for one another."""
    assert meter.calls <= calls and meter.longest_chain() <= chain, meter.by_operation()


def assert_refused(
    answer: Answer, status: int, code: str | None = None, *, naming: Sequence[str | int] = ()
) -> None:
    """The answer is a refusal of this status and code, in the one form that all have; its reason
    names these.

    The stock client prints the first 400 characters of the body: the whole reason is among them.
    """
    assert 400 <= status < 500
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    body = answer.body.decode()
    refusal = json.loads(body)
    assert set(refusal) == {"message", "detail", "code"}
    assert refusal["message"] == refusal["detail"]
    assert refusal["message"].strip() and "\n" not in refusal["message"]
    assert json.dumps(refusal["message"], ensure_ascii=False) in body[:400]
    assert code in (None, refusal["code"]), body
    for part in naming:
        assert str(part) in refusal["message"]
    assert (answer.headers.get("www-authenticate") == "Bearer") is (status == 401)
    assert ("retry-after" in answer.headers) is (status == 429)


def assert_absent(answer: Answer) -> None:
    """The reply equals, byte for byte, the reply for a repository that never existed."""
    assert_refused(answer, 404, "repo_not_found")
    never = _never()
    assert answer.body == never.body
    assert _told(answer) == _told(never)


def assert_hidden(estate: str, function: str, message: Any = None, **how: Any) -> None:
    """Private, deleted and absent repositories cannot be distinguished by this request."""
    for slug in ("priv", "gone", "none"):
        assert_absent(client.call(function, estate, slug, message, **how))


@functools.cache
def _never() -> Answer:
    return client.call("refs", "nobody", "nothing", by="anybody")


def _told(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in client.OWN_HEADERS}


def missing(owner: str, slug: str, *object_ids: str) -> set[str]:
    """Which of these objects the repository says it lacks."""
    answer = client.call("filter_objects", owner, slug, {"object_ids": list(object_ids)}, by=owner)
    return set(assert_accepted(answer)["missing"])


def upload(owner: str, slug: str, *object_ids: str) -> Record:
    """Sends objects ahead of a push. Returns the reply."""
    return assert_accepted(
        client.call("push_objects", owner, slug, {"objects": blobs(*object_ids)}, by=owner)
    )


def pushed(
    owner: str, slug: str, *commit_ids: str, branch: str = "main", force: bool = False
) -> Record:
    """Pushes these commits, which must succeed. Returns the reply."""
    return assert_accepted(
        client.push(owner, slug, bundle(*commit_ids), branch=branch, force=force)
    )


def alter(owner: str, slug: str, **attributes: str | int) -> None:
    """Give a repository's row attributes that no endpoint can give it."""

    async def write() -> None:
        table = (await selection.stores()).hub
        await table.update(keys.repo(owner, slug), attributes, Exists("repo_id"))

    asyncio.get_event_loop().run_until_complete(write())


def assert_nothing_stored(owner: str) -> None:
    """His push to `song` left nothing behind: there is not even a repository."""
    assert_absent(client.call("refs", owner, "song", by=f"witness{next(_witnesses)}"))
