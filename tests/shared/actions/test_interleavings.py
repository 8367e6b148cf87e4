"""Two requests, one stopped before a named call of its own while the other runs to its end.

The scheduler is `tests.turns`: the same order of calls in every run, so a lost update is found each
time or never.
"""

from typing import Any, cast

import pytest

from shared import codec
from shared.actions import branches, moves, releases
from shared.actions import repos as repositories
from shared.errors import BranchClash, BranchMoved, NotFastForward, ReleaseExists, RepoNotFound
from shared.metadata import keys
from shared.metadata.table import ConditionFailed
from shared.model import Identity, Move, Repo, Role, Visibility
from shared.protocol.releases import ListReleases, PostRelease
from shared.stores import Stores
from tests.builders import graph
from tests.points import (
    A_ROW_IS_DELETED,
    A_TRANSACTION_IS_WRITTEN,
    THE_MEMBERS_ARE_USED,
    THE_REF_IS_SWAPPED,
    THE_RELEASE_IS_CREATED,
    THE_REPO_IS_READ,
    THE_REPO_IS_WRITTEN,
    ref_is_deleted,
    ref_is_swapped,
)
from tests.shared.maintenance.test_gc_stories import REPO, Story
from tests.stores_in_memory import partition

EVE = Identity("eve", Role.ADMIN, "t1")


class Members:
    """A private repository `ada/song`, created on a cloud that does one thing at a time."""

    def __init__(self) -> None:
        self.story = Story()
        self.turns, self.stores = self.story.turns, self.story.stores
        self.repo = Repo("ada", "song")

    async def create(self) -> Repo:
        """The repository, new under its name."""
        wanted = Repo("ada", "song", visibility=Visibility.PRIVATE)
        made = await self.story.do(self.stores.repos.create(wanted, int(self.turns.now)))
        self.repo = made
        return self.repo

    def set_member(self, role: Role | None, handle: str = "eve") -> Any:
        """Grant a role, or remove the member."""
        if role is None:
            return self.stores.members.remove(self.repo, handle)
        return self.stores.members.set(self.repo, handle, role)

    def rename(self) -> Any:
        """`ada/song` becomes `ada/tune`."""
        return repositories.rename(
            self.stores.of(self.repo), self.repo.slug, "tune", int(self.turns.now)
        )

    async def role(self, slug: str) -> Role | None:
        """The role of eve in the repository of this name, as a request of hers finds it."""
        found, role = await self.story.do(self.stores.repos.look_up("ada", slug, EVE))
        listed = dict(await self.story.do(self.stores.members.page(found, 100, None)))
        assert listed.get("eve") == role, "the listing and the look-up agree"
        return cast(Role | None, role)


@pytest.fixture
def members() -> Members:
    return Members()


# ── Members beside a rename ───────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_a_grant_between_the_copy_and_the_rename_is_under_the_new_name(
    members: Members,
) -> None:
    await members.create()
    renaming = members.story.begin("rename", members.rename())
    await members.turns.resume("rename", A_TRANSACTION_IS_WRITTEN)
    await members.story.do(members.set_member(Role.WRITE))
    await members.story.ends("rename", renaming)
    assert await members.role("tune") is Role.WRITE


@pytest.mark.asyncio
async def test_a_removal_between_the_copy_and_the_rename_is_under_the_new_name(
    members: Members,
) -> None:
    await members.create()
    await members.story.do(members.set_member(Role.WRITE))
    renaming = members.story.begin("rename", members.rename())
    await members.turns.resume("rename", A_TRANSACTION_IS_WRITTEN)
    await members.story.do(members.set_member(None))
    await members.story.ends("rename", renaming)
    assert await members.role("tune") is None


@pytest.mark.asyncio
@pytest.mark.parametrize("role", [Role.READ, None])
async def test_a_change_of_members_that_a_rename_has_not_seen_is_not_acknowledged(
    members: Members, role: Role | None
) -> None:
    await members.create()
    await members.story.do(members.set_member(Role.WRITE))
    changing = members.story.begin("change", members.set_member(role))
    await members.turns.resume("change", THE_MEMBERS_ARE_USED)
    await members.story.do(members.rename())
    with pytest.raises(ConditionFailed):
        await members.story.ends("change", changing)
    assert await members.role("tune") is Role.WRITE


@pytest.mark.asyncio
async def test_a_grant_under_the_old_name_is_not_acknowledged_when_another_repository_has_it(
    members: Members,
) -> None:
    await members.create()
    granting = members.story.begin("grant", members.set_member(Role.ADMIN))
    await members.turns.resume("grant", THE_MEMBERS_ARE_USED)
    await members.story.do(members.rename())
    await members.create()
    with pytest.raises(ConditionFailed):
        await members.story.ends("grant", granting)
    assert await members.role("song") is None
    assert await members.role("tune") is None


@pytest.mark.asyncio
async def test_a_grant_that_began_under_an_earlier_roster_of_the_name_is_not_acknowledged(
    members: Members,
) -> None:
    await members.create()
    granting = members.story.begin("grant", members.set_member(Role.ADMIN))
    await members.turns.resume("grant", THE_MEMBERS_ARE_USED)
    there = await members.story.do(members.rename())
    back = await members.story.do(
        repositories.rename(members.stores.of(there), "tune", "song", int(members.turns.now))
    )
    with pytest.raises(ConditionFailed):
        await members.story.ends("grant", granting)
    members.repo = back
    assert await members.role("song") is None


@pytest.mark.asyncio
async def test_a_rename_does_not_copy_the_members_of_an_earlier_repository_of_the_name(
    members: Members,
) -> None:
    first = await members.create()
    await members.story.do(members.set_member(Role.ADMIN))
    await members.story.do(members.stores.repos.delete(first, int(members.turns.now)))
    await members.create()
    await members.story.do(members.rename())
    assert await members.role("tune") is None


@pytest.mark.asyncio
async def test_a_role_in_an_earlier_repository_of_the_name_is_none_in_the_next_one(
    members: Members,
) -> None:
    first = await members.create()
    await members.story.do(members.set_member(Role.ADMIN))
    await members.story.do(members.stores.repos.delete(first, int(members.turns.now)))
    await members.create()
    assert await members.role("song") is None


# ── A change of a repository beside its deletion ──────────────────────────────────────────────────


@pytest.mark.asyncio
@pytest.mark.parametrize("next_one", [False, True], ids=["deleted", "created again"])
@pytest.mark.parametrize("what", ["rename", "change", "delete"])
async def test_a_request_during_a_deletion_finds_no_repository(
    members: Members, what: str, next_one: bool
) -> None:
    first = await members.create()
    repos, now = members.stores.repos, int(members.turns.now)
    work = {
        "rename": members.rename(),
        "change": repositories.change(members.stores.of(first), {"description": "changed"}),
        "delete": repositories.delete(members.stores, first, now),
    }
    chosen = members.story.begin("chosen", work.pop(what))
    await members.turns.resume("chosen", A_TRANSACTION_IS_WRITTEN, THE_REPO_IS_WRITTEN)
    for other in work.values():
        other.close()
    await members.story.do(repos.delete(first, now))
    if next_one:
        await members.create()
    with pytest.raises(RepoNotFound):
        await members.story.ends("chosen", chosen)
    found = await members.story.do(repos.get("ada", "song"))
    assert (found.repo_id, found.description, found.deleted) == (
        members.repo.repo_id,
        "",
        not next_one,
    )
    assert await members.story.do(repos.get("ada", "tune")) is None


@pytest.mark.asyncio
async def test_a_push_does_not_build_on_a_repository_that_was_created_and_deleted_under_it(
    members: Members,
) -> None:
    repos, now = members.stores.repos, int(members.turns.now)
    creating = members.story.begin(
        "create", repositories.create_if_absent(members.stores, Repo("ada", "song"), now)
    )
    await members.turns.resume("create", THE_REPO_IS_WRITTEN)
    await members.create()
    await members.turns.resume("create", THE_REPO_IS_READ)
    await members.story.do(repos.delete(members.repo, now))
    with pytest.raises(RepoNotFound):
        await members.story.ends("create", creating)


@pytest.mark.asyncio
async def test_of_two_first_pushes_the_second_builds_on_the_repository_of_the_first(
    members: Members,
) -> None:
    creating = members.story.begin(
        "create",
        repositories.create_if_absent(members.stores, Repo("ada", "song"), int(members.turns.now)),
    )
    await members.turns.resume("create", THE_REPO_IS_WRITTEN)
    first = await members.create()
    assert await members.story.ends("create", creating) == first


# ── A removal beside a second grant ───────────────────────────────────────────────────────────────


@pytest.mark.asyncio
@pytest.mark.parametrize("first", ["grant", "removal"])
async def test_of_a_removal_and_a_grant_at_once_the_later_write_of_the_row_counts(
    members: Members, first: str
) -> None:
    await members.create()
    await members.story.do(members.set_member(Role.READ))
    work = {"grant": members.set_member(Role.WRITE), "removal": members.set_member(None)}
    other = ({*work} - {first}).pop()
    tasks = {who: members.story.begin(who, work[who]) for who in (first, other)}
    await members.turns.resume(first, THE_REPO_IS_WRITTEN)
    await members.turns.resume(other, THE_REPO_IS_WRITTEN)
    for who in (first, other):
        await members.story.ends(who, tasks[who])
    assert await members.role("song") is (Role.WRITE if other == "grant" else None)


# ── A restore beside a push ───────────────────────────────────────────────────────────────────────


def moves_of(stores: Stores, now: float) -> Any:
    """The moves of main, as `GET moves` lists them."""
    return moves.page(stores.of(REPO), "main", "", 100, now=now)


def path_of(history: list[Move]) -> list[tuple[str | None, str | None]]:
    """From where to where, the last move first."""
    return [
        (
            move.before.commit_id if move.before else None,
            move.after.commit_id if move.after else None,
        )
        for move in history
    ]


@pytest.mark.asyncio
async def test_the_second_move_of_a_push_that_lost_its_race_once_is_logged() -> None:
    story, drawn = Story(), graph("1; 2:1; 3:2")
    for number in (1, 2):
        story.wait(1)
        await story.do(story.push(drawn.bundle([number]), drawn[number]))
    story.wait(1)
    pushing = story.begin("push", story.push(drawn.bundle([3]), drawn[3]))
    await story.turns.resume("push", THE_REF_IS_SWAPPED)
    await story.do(
        branches.restore(story.stores.of(REPO), "main", drawn[1], by="ada", now=story.turns.now)
    )
    await story.ends("push", pushing)
    ref, history, _ = await story.do(moves_of(story.stores, story.turns.now))
    assert ref.head.commit_id == drawn[3]
    assert path_of(history) == [
        (drawn[1], drawn[3]),
        (drawn[2], drawn[1]),
        (drawn[1], drawn[2]),
        (None, drawn[1]),
    ]


@pytest.mark.asyncio
async def test_a_push_that_a_restore_overtakes_is_refused_if_its_history_lacks_the_restored_head() -> (
    None
):
    story, drawn = Story(), graph("1; 2:1; 3; 4:3")
    await story.do(story.push(drawn.bundle([1, 2]), drawn[2]))
    story.wait(1)
    await story.do(story.push(drawn.bundle([3]), drawn[3], force=True))
    story.wait(1)
    pushing = story.begin("push", story.push(drawn.bundle([4]), drawn[4]))
    await story.turns.resume("push", THE_REF_IS_SWAPPED)
    await story.do(
        branches.restore(story.stores.of(REPO), "main", drawn[2], by="ada", now=story.turns.now)
    )
    with pytest.raises(NotFastForward):
        await story.ends("push", pushing)
    ref, history, _ = await story.do(moves_of(story.stores, story.turns.now))
    assert ref.head.commit_id == drawn[2]
    assert path_of(history)[0] == (drawn[3], drawn[2])


@pytest.mark.asyncio
async def test_a_restore_that_a_push_overtakes_moves_nothing() -> None:
    story, drawn = Story(), graph("1; 2:1; 3:2")
    for number in (1, 2):
        story.wait(1)
        await story.do(story.push(drawn.bundle([number]), drawn[number]))
    story.wait(1)
    restoring = story.begin(
        "restore",
        branches.restore(story.stores.of(REPO), "main", None, by="ada", now=story.turns.now),
    )
    await story.turns.resume("restore", THE_REF_IS_SWAPPED)
    await story.do(story.push(drawn.bundle([3]), drawn[3]))
    with pytest.raises(BranchMoved) as refused:
        await story.ends("restore", restoring)
    assert drawn[3] in refused.value.message
    ref, history, _ = await story.do(moves_of(story.stores, story.turns.now))
    assert ref.head.commit_id == drawn[3]
    assert path_of(history) == [(drawn[2], drawn[3]), (drawn[1], drawn[2]), (None, drawn[1])]


@pytest.mark.asyncio
async def test_a_restore_keeps_the_folder_of_its_branch_from_becoming_a_branch() -> None:
    story, drawn = Story(), graph("1; 2:1; 3:1")
    await story.do(story.push(drawn.bundle([1]), drawn[1], "takes/one"))
    await story.do(story.delete("takes/one"))
    story.wait(3600)  # the mark of the first push does not count any more
    restore = branches.restore(
        story.stores.of(REPO), "takes/one", drawn[1], by="ada", now=story.turns.now
    )
    restoring = story.begin("restore", restore)
    await story.turns.resume("restore", ref_is_swapped("takes/one"))
    with pytest.raises(BranchClash):
        await story.do(story.push(drawn.bundle([2]), drawn[2], "takes"))
    await story.ends("restore", restoring)
    assert set(await story.do(story.stores.of(REPO).refs.all())) == {"takes/one"}


@pytest.mark.asyncio
async def test_a_restored_branch_does_not_come_back_below_another() -> None:
    story, drawn = Story(), graph("1; 2:1")
    await story.do(story.push(drawn.bundle([1]), drawn[1], "takes/one"))
    await story.do(story.delete("takes/one"))
    story.wait(3600)
    await story.do(story.push(drawn.bundle([2]), drawn[2], "takes"))
    with pytest.raises(BranchClash):
        await story.do(
            branches.restore(
                story.stores.of(REPO), "takes/one", drawn[1], by="ada", now=story.turns.now
            )
        )
    assert set(await story.do(story.stores.of(REPO).refs.all())) == {"takes"}


@pytest.mark.asyncio
async def test_a_restored_branch_does_not_take_the_place_of_a_folder_that_is_in_use() -> None:
    story, drawn = Story(), graph("1; 2:1")
    await story.do(story.push(drawn.bundle([1]), drawn[1], "takes"))
    await story.do(story.delete("takes"))
    await story.do(story.push(drawn.bundle([2]), drawn[2], "takes/one"))
    story.wait(3600)  # the mark of the folder does not count any more, but the branch in it does
    with pytest.raises(BranchClash):
        await story.do(
            branches.restore(
                story.stores.of(REPO), "takes", drawn[1], by="ada", now=story.turns.now
            )
        )
    assert set(await story.do(story.stores.of(REPO).refs.all())) == {"takes/one"}


# ── A deletion of a branch beside a push, and a branch that was a folder ──────────────────────────


@pytest.mark.asyncio
async def test_a_deletion_that_a_push_overtakes_is_refused_with_the_new_head() -> None:
    story, drawn = Story(), graph("1; 2:1")
    await story.do(story.push(drawn.bundle([1]), drawn[1]))
    deleting = story.begin("delete", story.delete("main"))
    await story.turns.resume("delete", ref_is_deleted("main"))
    await story.do(story.push(drawn.bundle([2]), drawn[2]))
    with pytest.raises(BranchMoved) as refused:
        await story.ends("delete", deleting)
    assert drawn[2] in refused.value.message
    assert (await story.do(story.stores.of(REPO).refs.all()))["main"].head.commit_id == drawn[2]


@pytest.mark.asyncio
async def test_a_deletion_that_another_overtakes_is_done() -> None:
    story, drawn = Story(), graph("1; 2:1")
    await story.do(story.push(drawn.bundle([1]), drawn[1]))
    deleting = story.begin("delete", story.delete("main"))
    await story.turns.resume("delete", ref_is_deleted("main"))
    await story.do(story.delete("main"))
    await story.ends("delete", deleting)
    assert await story.do(story.stores.of(REPO).refs.all()) == {}


@pytest.mark.asyncio
async def test_a_deletion_beside_a_new_folder_of_the_name_leaves_its_mark() -> None:
    story, drawn = Story(), graph("1; 2:1; 3:1")
    await story.do(story.push(drawn.bundle([1]), drawn[1], "takes"))
    deleting = story.begin("delete", story.delete("takes"))
    await story.turns.resume("delete", ref_is_deleted("takes"))
    await story.do(story.delete("takes"))
    await story.do(story.push(drawn.bundle([2]), drawn[2], "takes/one"))
    await story.ends("delete", deleting)
    with pytest.raises(BranchClash):
        await story.do(story.push(drawn.bundle([3]), drawn[3], "takes"))


@pytest.mark.asyncio
async def test_a_race_for_a_branch_with_the_name_of_a_folder_is_no_clash() -> None:
    story, drawn = Story(), graph("1; 2:1; 3:1; 4:2")
    await story.do(story.push(drawn.bundle([1]), drawn[1], "takes/one"))
    await story.do(story.delete("takes/one"))
    story.wait(3600)
    await story.do(story.push(drawn.bundle([1]), drawn[1], "takes"))
    pushing = story.begin("push", story.push(drawn.bundle([2, 4]), drawn[4], "takes"))
    losing = story.begin("lose", story.push(drawn.bundle([3]), drawn[3], "takes"))
    for who in ("push", "lose"):
        await story.turns.resume(who, ref_is_swapped("takes"))
    await story.do(story.push(drawn.bundle([2]), drawn[2], "takes"))
    await story.ends("push", pushing)
    with pytest.raises(NotFastForward):
        await story.ends("lose", losing)
    assert (await story.do(story.stores.of(REPO).refs.all()))["takes"].head.commit_id == drawn[4]


# ── A retraction beside a publication ─────────────────────────────────────────────────────────────


async def released() -> tuple[Story, str]:
    """A repository with one commit, and its id."""
    story, drawn = Story(), graph("1")
    await story.do(story.push(drawn.bundle([1]), drawn[1]))
    return story, drawn[1]


def publish(story: Story, commit_id: str, release_id: str) -> Any:
    """Publish `v1`."""
    record = {"release_id": release_id, "tag": "v1", "commit_id": commit_id}
    return releases.publish(story.stores.of(REPO), PostRelease(record), now=story.turns.now)


async def listed(story: Story) -> list[str]:
    """The ids of the releases in the list; it shows each release that there is, and no other row is
    left.
    """
    records, _ = await story.do(
        releases.listed(story.stores.of(REPO), ListReleases(), with_drafts=True)
    )
    stored = partition(story.cloud, keys.releases("r1"))
    rows = [sort_key.partition("#")[0] for sort_key in stored]
    assert rows.count("TIME") == rows.count("TAG") == len(records)
    return [codec.unpack_record(record)["release_id"] for record in records]


@pytest.mark.asyncio
async def test_a_retraction_keeps_a_release_that_was_published_after_it_began() -> None:
    story, commit_id = await released()
    await story.do(publish(story, commit_id, "one"))
    retracting = story.begin(
        "retract", releases.retract(story.stores.of(REPO), "v1", now=story.turns.now)
    )
    await story.turns.resume("retract", A_ROW_IS_DELETED)
    await story.do(releases.retract(story.stores.of(REPO), "v1", now=story.turns.now))
    story.wait(1)
    await story.do(publish(story, commit_id, "two"))
    await story.ends("retract", retracting)
    assert await listed(story) == ["two"]


@pytest.mark.asyncio
async def test_a_publication_that_a_retraction_overtakes_is_in_the_list() -> None:
    story, commit_id = await released()
    await story.do(publish(story, commit_id, "one"))
    publishing = story.begin("publish", publish(story, commit_id, "two"))
    await story.turns.resume("publish", THE_RELEASE_IS_CREATED)
    await story.do(releases.retract(story.stores.of(REPO), "v1", now=story.turns.now))
    await story.ends("publish", publishing)
    assert await listed(story) == ["two"]


@pytest.mark.asyncio
async def test_a_publication_that_another_overtakes_leaves_no_entry_of_its_own() -> None:
    story, commit_id = await released()
    publishing = story.begin("publish", publish(story, commit_id, "one"))
    await story.turns.resume("publish", THE_RELEASE_IS_CREATED)
    await story.do(publish(story, commit_id, "two"))
    with pytest.raises(ReleaseExists):
        await story.ends("publish", publishing)
    assert await listed(story) == ["two"]
