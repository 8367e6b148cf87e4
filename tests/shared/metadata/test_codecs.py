"""Each kind of row: a value comes back as it was written, and a malformed row raises Damaged."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from shared.engines import sqlite
from shared.engines.database import MemoryDatabase
from shared.engines.sqlite import SqliteTable
from shared.errors import Damaged
from shared.limits import Limits
from shared.metadata import keys
from shared.metadata.commits import Commits
from shared.metadata.domains import Domain, Domains
from shared.metadata.expiring import Counters
from shared.metadata.index import Index
from shared.metadata.prebuilt_clones import PrebuiltClones
from shared.metadata.refs import Refs
from shared.metadata.releases import Release, Releases
from shared.metadata.repos import Repos
from shared.metadata.scans import JobState, Scans
from shared.metadata.table import Row, Table
from shared.metadata.tags import Tag, Tags
from shared.metadata.tokens import Issued, Tokens
from shared.model import (
    Bearer,
    CommitAddress,
    CommitId,
    Identity,
    Kind,
    Move,
    Node,
    Packed,
    PrebuiltClone,
    Ref,
    Repo,
    RepoId,
    Role,
    Run,
    SnapshotId,
)

NOW = 1_800_000_000
ID = RepoId("0d5a6c1e-5a58-4e0a-9d5a-1c7d1d2c3b4a")
LIMITS = Limits()
HEAD = CommitAddress(CommitId("c" * 64), 2, "main")
ROOT = CommitAddress(CommitId("b" * 64), 1, "main~0")
PACKED = Packed("p" * 64, 8, 9)
STEP = f"{1:012d}#{0:012d}#0123abcd"

NODE = Node(HEAD, (ROOT,), SnapshotId("s" * 64), PACKED, record_at=PACKED, summary=b"{}")
REF = Ref("main", HEAD, PACKED, STEP, NOW * 1000)
MOVE = Move("main", NOW * 1000, "ada", ROOT, HEAD, forced=True, step=STEP, rungs=(ROOT,))
CLONE = PrebuiltClone(
    "clone", (HEAD,), (ROOT,), Run(2, 9, 5), Run(1, 8, 4), Run(1, 7, 3), 64, (b"d" * 32,), 5,
    b"i" * 32, NOW,
)  # fmt: skip
RELEASE = Release(
    "v1", "r", CommitId("c" * 64), NOW * 10**6, "stable", False, 6, zlib.compress(b"record")
)
TOKEN = Issued(Identity("ada", Role.WRITE, "t1", "ada/song", Bearer.AGENT), NOW, NOW + 60)


@dataclass(frozen=True)
class Codec:
    """A kind of row: how it is written and read, its key, and what the read returns."""

    key: keys.Key
    write: Callable[[Table], Awaitable[Any]]
    read: Callable[[Table], Awaitable[Any]]
    value: Any
    ignored: str = ""
    """Attributes that this read does not use."""
    optional: str = ""
    """Attributes that may be absent."""


async def one_release(table: Table) -> Any:
    releases = Releases(table, ID)
    return await releases.one("v1")


CODECS = {
    "commit": Codec(
        keys.commit(ID, HEAD),
        lambda table: Commits(table, ID, LIMITS).put([NODE], NOW),
        lambda table: Commits(table, ID, LIMITS).get([HEAD]),
        {HEAD.commit_id: NODE},
        ignored="written_at",
        optional="snapshot_id snapshot_at record_at summary",
    ),
    "address of a commit": Codec(
        keys.by_id(ID, Kind.COMMIT, HEAD.commit_id),
        lambda table: Index(table, ID, LIMITS).put_addresses([HEAD]),
        lambda table: Index(table, ID, LIMITS).commits_beginning("c", 9),
        [HEAD],
    ),
    "branch": Codec(
        keys.ref(ID, "main"),
        lambda table: Refs(table, ID).swap(REF, None, by="ada", now=NOW),
        lambda table: Refs(table, ID).get("main"),
        REF,
        ignored="updated_at updated_by",
        optional="step moved_at head",
    ),
    "move": Codec(
        keys.move(ID, "main", STEP),
        lambda table: Refs(table, ID).log_move(MOVE),
        lambda table: Refs(table, ID).moves("main"),
        [MOVE],
        optional="rungs",
    ),
    "release": Codec(
        keys.release(ID, "v1"),
        lambda table: Releases(table, ID).put_new(RELEASE),
        one_release,
        b"record",
        ignored="release_id commit_id entry",
    ),
    "tag": Codec(
        (keys.tags(ID), "t"),
        lambda table: Tags(table, ID, LIMITS).put_new({"t": Tag("t", CommitId("c" * 64), b"{}")}),
        lambda table: Tags(table, ID, LIMITS).find(["t"]),
        {"t": Tag("t", CommitId("c" * 64), b"{}")},
    ),
    "token": Codec(
        keys.token("ada", "t1"),
        lambda table: Tokens(table).put(TOKEN),
        lambda table: Tokens(table).listed("ada", 9, None),
        [TOKEN],
        optional="scope",  # the row of a revoked token that was never recorded has none
    ),
    "domain": Codec(
        keys.domain("ada", "midi"),
        lambda table: Domains(table).put_new(Domain("ada", "midi", "1.0", b"{}")),
        lambda table: Domains(table).get("ada", "midi"),
        Domain("ada", "midi", "1.0", b"{}"),
    ),
    "state of a job": Codec(
        (keys.upkeep(ID), "STATE"),
        lambda table: Scans(table, ID).begin(JobState("0001-ab", "condemned", NOW)),
        lambda table: Scans(table, ID).progress(),
        JobState("0001-ab", "condemned", NOW),
    ),
    "refused push": Codec(
        keys.refused(ID, "ada"),
        lambda table: Counters(table).remember_refused(ID, "ada", [CommitId("c")], NOW),
        lambda table: Counters(table).refused(ID, "ada", NOW),
        {"c"},
        optional="commits",
    ),
}
CASES = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())


@pytest.fixture
def table() -> Table:
    return SqliteTable(MemoryDatabase(sqlite.SCHEMA, sqlite.sweep))


def run(work: Awaitable[Any]) -> Any:
    async def wait() -> Any:
        return await work

    return asyncio.run(wait())


@CASES
def test_a_value_is_read_as_it_was_written(table: Table, codec: Codec) -> None:
    run(codec.write(table))
    assert run(codec.read(table)) == codec.value


@CASES
def test_an_attribute_of_another_type_raises_damaged(table: Table, codec: Codec) -> None:
    run(codec.write(table))
    whole: Row = run(table.get(codec.key))
    for name in whole.keys() - {"pk", "sk", *codec.ignored.split()}:
        wrong = "text" if isinstance(whole[name], list) else ["list"]
        run(table.put([(codec.key, {**whole, name: wrong})]))
        with pytest.raises(Damaged, match=f"attribute {name} of "):
            run(codec.read(table))


@CASES
def test_an_absent_attribute_raises_damaged(table: Table, codec: Codec) -> None:
    run(codec.write(table))
    whole: Row = run(table.get(codec.key))
    optional = {"pk", "sk", "format", *codec.ignored.split(), *codec.optional.split()}
    for name in whole.keys() - optional:
        run(table.put([(codec.key, {k: v for k, v in whole.items() if k != name})]))
        with pytest.raises(Damaged, match=f"attribute {name} of "):
            run(codec.read(table))


@pytest.mark.parametrize("name", ["snapshot_at", "record_at"])
@pytest.mark.parametrize("text", ["p:8", "p:8:x", ""])
def test_a_malformed_location_in_a_commit_raises_damaged(
    table: Table, name: str, text: str
) -> None:
    codec = CODECS["commit"]
    run(codec.write(table))
    whole: Row = run(table.get(codec.key))
    run(table.put([(codec.key, {**whole, name: text})]))
    with pytest.raises(Damaged, match=f"attribute {name} of commit {HEAD.commit_id}"):
        run(codec.read(table))


@pytest.mark.parametrize("name", ["visibility", "portable_names", "created_at", "roster"])
def test_a_malformed_row_of_a_repository_raises_damaged(table: Table, name: str) -> None:
    repos = Repos(table)
    run(repos.create(Repo("ada", "song"), NOW))
    key = keys.repo("ada", "song")
    whole: Row = run(table.get(key))
    run(table.put([(key, {**whole, name: ["x"]})]))
    with pytest.raises(Damaged, match=f"attribute {name} of repository song"):
        run(repos.get("ada", "song"))


@pytest.mark.parametrize("name", ["heads", "merged", "range_size", "ids_digest", "objects_stored"])
def test_a_malformed_prebuilt_clone_is_not_used(table: Table, name: str) -> None:
    clones = PrebuiltClones(table, ID)
    run(clones.put(CLONE, None))
    assert run(clones.get()) == CLONE
    key = keys.prebuilt(ID)
    whole: Row = run(table.get(key))
    run(table.put([(key, {**whole, name: ["not an address"]})]))
    assert run(clones.get()) is None
