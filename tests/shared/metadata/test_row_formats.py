"""The format version of each kind of row: an older hub refuses the rows of a newer one."""

import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import pytest

from shared import metadata
from shared.errors import Damaged, HubOutdated
from shared.metadata import identities, keys
from shared.metadata.attributes import FORMAT, RowFormat
from shared.metadata.commits import Commits
from shared.metadata.handles import Handles
from shared.metadata.identities import Identities, LinkedIdentity
from shared.metadata.members import Members
from shared.metadata.prebuilt_clones import PrebuiltClones
from shared.metadata.refs import Refs
from shared.metadata.repos import Repos
from shared.metadata.scans import Scans
from shared.metadata.table import Row, Table
from shared.model import Repo, Role
from tests.shared.metadata.test_codecs import (
    CLONE,
    CODECS,
    HEAD,
    ID,
    LIMITS,
    NODE,
    NOW,
    REF,
    Codec,
    run,
    table,
)

__all__ = ["table"]

ADA = LinkedIdentity("https://id.example", "7", "ada", NOW)
MORE_CODECS = {
    **CODECS,
    "handle": Codec(
        keys.handle("ada"),
        lambda table: Handles(table).claim("ada"),
        lambda table: Handles(table).claimed("ada"),
        "ada",
    ),
    "identity": Codec(
        identities._key("https://id.example", "7"),
        lambda table: Identities(table).link(ADA),
        lambda table: Identities(table).get("https://id.example", "7"),
        ADA,
    ),
    "repository": Codec(
        keys.repo("ada", "song"),
        lambda table: Repos(table).create(Repo("ada", "song"), NOW),
        lambda table: Repos(table).get("ada", "song"),
        None,
    ),
}
KINDS = pytest.mark.parametrize("codec", MORE_CODECS.values(), ids=MORE_CODECS.keys())


@contextmanager
def hub(*, written: int, readable: int, kind: str = "") -> Iterator[None]:
    """Within it, each kind of row (or this one) has these versions, as in a later release."""
    with pytest.MonkeyPatch.context() as patch:
        for module_info in pkgutil.iter_modules(metadata.__path__):
            module = import_module(f"shared.metadata.{module_info.name}")
            for name, value in vars(module).items():
                if isinstance(value, RowFormat) and kind in ("", value.name):
                    patch.setattr(module, name, RowFormat(value.name, written, readable))
        yield


def stored(table: Table, key: keys.Key) -> Row:
    row: Row | None = run(table.get(key))
    assert row is not None
    return row


@KINDS
def test_a_newer_hub_reads_the_rows_of_an_older_one(table: Table, codec: Codec) -> None:
    run(codec.write(table))
    older = run(codec.read(table))
    with hub(written=2, readable=2):
        assert run(codec.read(table)) == older


@KINDS
def test_an_older_hub_refuses_the_rows_of_a_newer_one(table: Table, codec: Codec) -> None:
    with hub(written=2, readable=2):
        run(codec.write(table))
        newer = run(codec.read(table))
    with hub(written=1, readable=2):
        assert run(codec.read(table)) == newer, "the release before the newer one can read it"
    with pytest.raises(HubOutdated, match="format 2; ask its operator to update the hub"):
        run(codec.read(table))


def test_an_older_hub_refuses_the_member_of_a_newer_one(table: Table) -> None:
    repo = run(Repos(table).create(Repo("ada", "song"), NOW))
    with hub(written=2, readable=2):
        run(Members(table).set(repo, "bob", Role.READ))
    with pytest.raises(HubOutdated, match="wrote a member in format 2"):
        run(Members(table).page(repo, 9, None))


def test_a_format_that_is_not_a_number_raises_damaged(table: Table) -> None:
    codec = CODECS["commit"]
    run(codec.write(table))
    run(table.put([(codec.key, {**stored(table, codec.key), FORMAT: "two"})]))
    with pytest.raises(Damaged, match=f"attribute format of commit {HEAD.commit_id}"):
        run(codec.read(table))


def test_a_rebuild_of_an_older_hub_does_not_delete_the_commits_of_a_newer_one(table: Table) -> None:
    with hub(written=2, readable=2):
        run(Commits(table, ID, LIMITS).put([NODE], NOW))
    before = stored(table, keys.commit(ID, HEAD))
    with pytest.raises(HubOutdated):
        run(Scans(table, ID).delete_damaged(HEAD.lane))
    assert stored(table, keys.commit(ID, HEAD)) == before


def test_an_older_hub_that_moves_a_branch_writes_its_own_format(table: Table) -> None:
    with hub(written=2, readable=2):
        run(Refs(table, ID).swap(REF, None, by="ada", now=NOW))
    with hub(written=1, readable=2):
        run(Refs(table, ID).swap(REF, REF, by="ada", now=NOW))
    assert stored(table, keys.ref(ID, "main"))[FORMAT] == 1
    assert run(Refs(table, ID).get("main")) == REF


def test_an_older_hub_replaces_the_prebuilt_clone_of_a_newer_one(table: Table) -> None:
    clones = PrebuiltClones(table, ID)
    with hub(written=2, readable=2):
        run(clones.put(CLONE, None))
    assert run(clones.get()) is None, "a clone is then served from the packs"
    run(clones.put(CLONE, None))
    assert run(clones.get()) == CLONE


def test_a_deleted_name_of_a_newer_hub_can_be_used_by_an_older_one(table: Table) -> None:
    with hub(written=2, readable=2, kind="repository"):
        first = run(Repos(table).create(Repo("ada", "song"), NOW))
        run(Repos(table).delete(first, NOW))
    second = run(Repos(table).create(Repo("ada", "song"), NOW))
    assert run(Repos(table).get("ada", "song")) == second


def test_the_first_format_costs_no_bytes_in_the_rows_of_an_index(table: Table) -> None:
    for kind in ("commit", "address of a commit"):
        codec = CODECS[kind]
        run(codec.write(table))
        assert FORMAT not in stored(table, codec.key)
