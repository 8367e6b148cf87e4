"""Branches: moved from where they were believed to be or not at all, and never beside their own
folder.
"""

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import pytest

from shared.errors import BranchClash
from shared.metadata import keys
from shared.metadata.refs import MARK_SECONDS, RefChanged, Refs
from shared.model import CommitAddress, CommitId, Packed, Ref, Repo, RepoId
from shared.stores import Stores
from tests.shared.clients import Watched

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOW = 1_800_000_000


@pytest.fixture
def refs(opened: Stores, repo_id: RepoId) -> Refs:
    return opened.of(Repo("ada", "song", repo_id)).refs


def ref(branch: str, head: str, generation: int = 1, at: Packed | None = None) -> Ref:
    return Ref(branch, CommitAddress(CommitId(head), generation, branch), at)


async def create(refs: Refs, branch: str, head: str = "c1", now: int = NOW) -> Ref:
    new = ref(branch, head)
    await refs.swap(new, None, by="ada", now=now)
    return new


# ── Reading ───────────────────────────────────────────────────────────────────────────────────────


async def test_every_branch_comes_back_whole_and_sorted(refs):
    made = [
        Ref("main", CommitAddress(CommitId("c" * 64), 12, "topic/a#b"), Packed("p" * 64, 8, 0)),
        Ref("a/b", CommitAddress(CommitId("c2"), 1, "main")),
        Ref("näher", CommitAddress(CommitId("c3"), 10**9, "main")),
    ]
    for new in made:
        await refs.swap(new, None, by="ada", now=NOW)
    found = await refs.all()
    assert list(found) == ["a/b", "main", "näher"]
    assert set(found.values()) == set(made)


async def test_a_repository_without_branches_has_none(refs, repo_id):
    await create(replace(refs, repo_id=RepoId(str(uuid.uuid4()))), "main")
    assert await refs.all() == {}


async def test_a_thousand_branches_are_one_page(refs, repo_id):
    rows: Any = [
        (
            keys.ref(repo_id, f"b{n:04}"),
            {"head": f"c{n}", "generation": n, "lane": "main", "snapshot_at": ""},
        )
        for n in range(1000)
    ]
    await refs.table.put(rows)
    client: Any = Watched(refs.table.client)
    found = await replace(refs, table=replace(refs.table, client=client)).all()
    assert list(found) == [f"b{n:04}" for n in range(1000)]
    assert client.calls == {"query": 1}


async def test_the_user_and_the_time_of_a_move_are_stored(refs, repo_id):
    await refs.swap(ref("main", "c1"), None, by="ada", now=NOW)
    row = await refs.table.get(keys.ref(repo_id, "main"))
    assert row is not None
    assert (row["updated_by"], row["updated_at"]) == ("ada", NOW)


# ── Moving ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_branch_moves_from_where_it_was_believed_to_be(refs):
    first = await create(refs, "main")
    second = ref("main", "c2", 2, Packed("p", 0, 1))
    await refs.swap(second, first, by="ada", now=NOW)
    assert await refs.all() == {"main": second}


async def test_a_branch_that_moved_stays_and_the_winner_is_named(refs):
    first = await create(refs, "main")
    winner = ref("main", "c2", 2, Packed("p", 0, 1))
    await refs.swap(winner, first, by="ada", now=NOW)
    with pytest.raises(RefChanged) as moved:
        await refs.swap(ref("main", "c3", 2), first, by="bob", now=NOW)
    assert moved.value.ref == winner
    assert await refs.all() == {"main": winner}


async def test_a_branch_that_was_created_meanwhile_is_named(refs):
    winner = await create(refs, "main", "c1")
    with pytest.raises(RefChanged) as moved:
        await refs.swap(ref("main", "c2"), None, by="bob", now=NOW)
    assert moved.value.ref == winner


async def test_a_branch_that_is_gone_is_nowhere(refs):
    with pytest.raises(RefChanged) as moved:
        await refs.swap(ref("main", "c2"), ref("main", "c1"), by="bob", now=NOW)
    assert moved.value.ref is None
    assert await refs.all() == {}


@pytest.mark.parametrize("expected", [None, "c1"], ids=["created", "moved"])
async def test_a_swap_that_arrived_before_its_answer_was_lost_is_done(refs, expected):
    before = await create(refs, "main", expected) if expected else None
    for _ in range(2):
        await refs.swap(ref("main", "c2", 2), before, by="ada", now=NOW)
    assert await refs.all() == {"main": ref("main", "c2", 2)}


async def test_of_many_swaps_from_one_base_one_wins(refs):
    base = await create(refs, "main")
    swaps = [refs.swap(ref("main", f"n{n}", 2), base, by="ada", now=NOW) for n in range(8)]
    outcomes = await asyncio.gather(*swaps, return_exceptions=True)
    winners = [n for n, outcome in enumerate(outcomes) if outcome is None]
    assert len(winners) == 1
    losers = [outcome for outcome in outcomes if isinstance(outcome, RefChanged)]
    assert [moved.ref for moved in losers] == [ref("main", f"n{winners[0]}", 2)] * 7


# ── Folders ───────────────────────────────────────────────────────────────────────────────────────


async def test_the_folders_of_a_branch_are_marked_and_are_no_branches(refs):
    await refs.mark_folders("a/b/c", NOW)
    assert await refs.all() == {}
    for folder in ("a", "a/b"):
        with pytest.raises(BranchClash, match=f"branch {folder} conflicts with {folder}/…"):
            await create(refs, folder)
    await create(refs, "a/b/c")
    await create(refs, "a/b-c")
    assert list(await refs.all()) == ["a/b-c", "a/b/c"]


async def test_a_branch_without_folders_marks_none(refs):
    client: Any = Watched(refs.table.client)
    await replace(refs, table=replace(refs.table, client=client)).mark_folders("main", NOW)
    assert not client.calls


@pytest.mark.parametrize("branch", ["a/b", "a/b/c"])
async def test_a_folder_that_is_a_branch_cannot_be_marked(refs, branch):
    standing = await create(refs, "a")
    with pytest.raises(BranchClash, match=f"branch {branch} conflicts with a:"):
        await refs.mark_folders(branch, NOW)
    assert await refs.all() == {"a": standing}


@pytest.mark.parametrize(
    ("age", "clashes"),
    [
        pytest.param(0, True, id="just made"),
        pytest.param(MARK_SECONDS, True, id="as old as a request can be"),
        pytest.param(MARK_SECONDS + 1, False, id="older than any request"),
        pytest.param(-60, True, id="made by a clock that runs ahead"),
    ],
)
async def test_a_mark_counts_as_long_as_its_request_may_live(refs, age, clashes):
    await refs.mark_folders("a/b", NOW - age)
    if clashes:
        with pytest.raises(BranchClash):
            await create(refs, "a")
        assert await refs.all() == {}
    else:
        await create(refs, "a")
        assert list(await refs.all()) == ["a"]


async def test_a_mark_of_a_clock_that_was_set_back_blocks_the_name_for_no_longer_than_any_other(
    refs,
):
    await refs.mark_folders("a/b", NOW + 24 * 3600)
    with pytest.raises(BranchClash):
        await create(refs, "a")
    with pytest.raises(BranchClash):
        await create(refs, "a", now=NOW + MARK_SECONDS)
    await create(refs, "a", now=NOW + MARK_SECONDS + 1)
    assert list(await refs.all()) == ["a"]


async def test_a_branch_that_went_elsewhere_and_came_back_is_not_where_it_was_seen(refs):
    first = replace(ref("main", "c1"), step="000000000001#000000000000#00000000")
    await refs.swap(first, None, by="ada", now=NOW)
    second = replace(ref("main", "c2", 2), step="000000000002#000000000001#00000000")
    await refs.swap(second, first, by="ada", now=NOW)
    back = replace(first, step="000000000003#000000000002#00000000")
    await refs.swap(back, second, by="ada", now=NOW)
    with pytest.raises(RefChanged) as moved:
        await refs.swap(ref("main", "c3", 3), first, by="bob", now=NOW)
    assert moved.value.ref == back
    with pytest.raises(RefChanged):
        await refs.remove(first)


async def test_a_mark_that_is_made_again_lives_on(refs):
    await refs.mark_folders("a/b", NOW - MARK_SECONDS - 1)
    await refs.mark_folders("a/c", NOW)
    with pytest.raises(BranchClash):
        await create(refs, "a")


async def test_a_folder_that_became_a_branch_moves_like_any(refs):
    await refs.mark_folders("a/b", NOW - MARK_SECONDS - 1)
    first = await create(refs, "a")
    await refs.swap(ref("a", "c2", 2), first, by="ada", now=NOW)
    assert await refs.all() == {"a": ref("a", "c2", 2)}
    with pytest.raises(BranchClash):
        await refs.mark_folders("a/b", NOW)


async def test_of_a_branch_and_its_folder_made_at_once_one_stays(refs):
    """In whatever order the calls arrive: each side first claims the row that the other needs."""

    async def inner() -> None:
        await refs.mark_folders("a/b", NOW)
        await create(refs, "a/b")

    outcomes = await asyncio.gather(inner(), create(refs, "a"), return_exceptions=True)
    assert sum(isinstance(outcome, BranchClash) for outcome in outcomes) == 1
    assert len(await refs.all()) == 1


# ── Letter case ───────────────────────────────────────────────────────────────────────────────────

ONE_ON_DISK = [
    ("codeOwners", "codeowners"),
    ("codeOwners", "CodeOwners"),
    ("docs", "DOCS/x"),
    ("Docs", "DOCS/x"),
    ("\u00e9", "e\u0301"),
    ("a/B/c", "A/b"),
]


async def make(refs: Refs, branch: str, now: int = NOW) -> None:
    """Create a branch as a push does that has seen no other."""
    await refs.mark_folders(branch, now)
    await create(refs, branch, now=now)


@pytest.mark.parametrize("pair", ONE_ON_DISK, ids=ascii)
@pytest.mark.parametrize("turn", [1, -1], ids=["first and second", "second and first"])
async def test_of_two_branches_that_are_one_on_disk_the_second_is_refused(refs, pair, turn):
    first, second = pair[::turn]
    await make(refs, first)
    with pytest.raises(BranchClash):
        await make(refs, second)
    assert list(await refs.all()) == [first]
    await make(refs, "another")


@pytest.mark.parametrize("pair", ONE_ON_DISK, ids=ascii)
async def test_of_two_branches_that_are_one_on_disk_made_at_once_at_most_one_stays(
    refs, repo_id, pair
):
    for n in range(6):
        apart = replace(refs, repo_id=RepoId(f"{repo_id}-{n}"))
        outcomes = await asyncio.gather(
            *(make(apart, branch) for branch in pair), return_exceptions=True
        )
        refused = [outcome for outcome in outcomes if outcome is not None]
        assert refused and all(isinstance(outcome, BranchClash) for outcome in refused), outcomes
        assert len(await apart.all()) == 2 - len(refused)


@pytest.mark.parametrize("pair", ONE_ON_DISK, ids=ascii)
async def test_in_any_order_of_the_two_steps_at_most_one_stays(refs, pair):
    """Each push marks, then creates. The other push takes both steps between."""
    first, second = pair
    await refs.mark_folders(first, NOW)
    between = await asyncio.gather(make(refs, second), return_exceptions=True)
    after = await asyncio.gather(create(refs, first), return_exceptions=True)
    assert isinstance(between[0], BranchClash) or isinstance(after[0], BranchClash), (
        between,
        after,
    )
    assert len(await refs.all()) == 1


async def test_two_pushes_of_one_new_branch_in_capitals_do_not_exclude_each_other(refs):
    await refs.mark_folders("Docs/A", NOW)
    await refs.mark_folders("Docs/A", NOW)
    await create(refs, "Docs/A")
    await make(refs, "Docs/B")
    assert list(await refs.all()) == ["Docs/A", "Docs/B"]


async def test_a_mark_for_a_branch_ends_like_any_mark(refs):
    await refs.mark_folders("Docs", NOW - MARK_SECONDS)
    with pytest.raises(BranchClash, match="conflicts with Docs:"):
        await make(refs, "docs")
    with pytest.raises(BranchClash, match="conflicts with Docs:"):
        await make(refs, "DOCS/x")
    await make(refs, "docs", now=NOW + 1)
