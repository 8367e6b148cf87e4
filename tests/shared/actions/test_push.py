"""A push that is overtaken between its look and its swap."""

import pytest

from shared.errors import BranchClash
from tests.builders import graph
from tests.points import ref_is_swapped
from tests.shared.maintenance.test_gc_stories import REPO, Story


@pytest.mark.asyncio
@pytest.mark.parametrize("force", [False, True])
async def test_a_branch_deleted_under_a_push_does_not_come_back_below_another(force: bool) -> None:
    story, drawn = Story(), graph("1; 2:1; 3:1")
    await story.do(story.push(drawn.bundle([1]), drawn[1], "takes/one"))
    story.wait(
        3600
    )  # what kept its folder from becoming a branch has lapsed: it was there to be seen
    pushing = story.begin(
        "pushing", story.push(drawn.bundle([2]), drawn[2], "takes/one", force=force)
    )
    await story.turns.resume("pushing", ref_is_swapped("takes/one"))
    await story.do(story.delete("takes/one"))
    await story.do(story.push(drawn.bundle([3]), drawn[3], "takes"))
    with pytest.raises(BranchClash):
        await story.ends("pushing", pushing)
    assert set(await story.do(story.stores.of(REPO).refs.all())) == {"takes"}


@pytest.mark.asyncio
async def test_a_branch_deleted_under_a_push_is_made_again() -> None:
    story, drawn = Story(), graph("1; 2:1; 3:1")
    await story.do(story.push(drawn.bundle([1]), drawn[1], "takes/one"))
    pushing = story.begin("pushing", story.push(drawn.bundle([2]), drawn[2], "takes/one"))
    await story.turns.resume("pushing", ref_is_swapped("takes/one"))
    await story.do(story.delete("takes/one"))
    await story.ends("pushing", pushing)
    story.wait(60)
    with pytest.raises(BranchClash):
        await story.do(story.push(drawn.bundle([3]), drawn[3], "takes"))
    assert (await story.do(story.stores.of(REPO).refs.all()))["takes/one"].head.commit_id == drawn[
        2
    ]
