"""Acknowledgements after a refusal, and during gc."""

from collections.abc import Sequence
from typing import Any

import pytest

from shared.actions import negotiate, push_plan
from shared.errors import NotFastForward
from shared.metadata.expiring import REMEMBERED, REMEMBERED_SECONDS
from shared.model import CommitId, Repo, RepoId, Sees
from shared.protocol.fetch import Negotiate
from tests.builders import Record, graph
from tests.shared.maintenance.test_gc_stories import LONG, REPO, Story

OTHER = Repo("ada", "tune", repo_id=RepoId("r2"))


async def ask(
    story: Story,
    have: Sequence[CommitId],
    want: Sequence[CommitId] = (),
    *,
    by: str = "ada",
    repo: Repo = REPO,
) -> Any:
    """The reply to a negotiation."""
    message = Negotiate(want=list(want), have=list(have))
    return await story.do(
        negotiate.negotiate(story.stores.of(repo), message, Sees.ALL, by=by, now=story.turns.now)
    )


async def refused(story: Story, bundle: Record, head: str) -> None:
    """A push that comes too late."""
    with pytest.raises(NotFastForward):
        await story.do(story.push(bundle, head))


@pytest.mark.asyncio
async def test_a_refused_commit_is_acknowledged_to_its_author_in_its_repository_for_a_day() -> None:
    story, drawn = Story(), graph("1; 2:1; 3:1")
    await story.do(story.push(drawn.bundle([1, 2]), drawn[2]))
    await refused(story, drawn.bundle([3]), drawn[3])
    assert (await ask(story, [drawn[3], drawn[1]]))["ack"] == [drawn[3], drawn[1]]
    for other in ({"by": "eve"}, {"by": ""}, {"repo": OTHER}):
        assert drawn[3] not in (await ask(story, [drawn[3]], **other))["ack"]
    story.wait(REMEMBERED_SECONDS - 1)
    assert (await ask(story, [drawn[3]]))["ack"] == [drawn[3]]
    story.wait(1)
    assert (await ask(story, [drawn[3]]))["ack"] == []


@pytest.mark.asyncio
async def test_a_refused_commit_is_no_base_to_fetch_from() -> None:
    story, drawn = Story(), graph("1; 2:1; 3:1")
    await story.do(story.push(drawn.bundle([1, 2]), drawn[2]))
    await refused(story, drawn.bundle([3]), drawn[3])
    reply = await ask(story, [drawn[3]], [drawn[2]])
    assert (reply["common_base"], reply["ready"]) == (None, False)


@pytest.mark.asyncio
async def test_only_a_part_of_the_last_refusal_is_remembered() -> None:
    story, drawn = (
        Story(),
        graph("1; 2:1; 3:1; " + "; ".join(f"{n}:{n - 1 if n > 10 else 1}" for n in range(10, 60))),
    )
    await story.do(story.push(drawn.bundle([1, 2]), drawn[2]))
    await refused(story, drawn.bundle([3]), drawn[3])
    line = [drawn[n] for n in range(10, 60)]
    await refused(story, drawn.bundle(range(10, 60)), line[-1])
    acknowledged = (await ask(story, [drawn[3], *line]))["ack"]
    assert drawn[3] not in acknowledged
    assert len(acknowledged) == REMEMBERED


@pytest.mark.asyncio
async def test_a_refused_commit_of_an_opaque_id_is_not_acknowledged() -> None:
    """The id proves nothing: another commit may be stored under it later."""
    story = Story()
    commit_ids = [CommitId("c-1"), CommitId("c-2")]
    for commit_id in commit_ids:
        sent = {"commits": [{"commit_id": commit_id, "branch": "main"}]}
        if commit_id == "c-1":
            await story.do(story.push(sent, commit_id))
        else:
            await refused(story, sent, commit_id)
    assert (await ask(story, commit_ids))["ack"] == ["c-1"]


@pytest.mark.asyncio
async def test_a_condemned_commit_may_be_wanted_and_nothing_is_built_on_it() -> None:
    story, drawn = Story(), graph("1; 2:1")
    await story.do(story.push(drawn.bundle([1]), drawn[1]))
    await story.do(story.push(drawn.bundle([1, 2]), drawn[2], "side"))
    await story.do(story.delete("side"))
    story.wait(LONG)
    await story.step()
    assert await story.known(drawn[2]) == set(), "it is condemned"
    reply = await ask(story, [drawn[2], drawn[1]], [drawn[2]])
    assert (reply["ack"], reply["common_base"], reply["ready"]) == ([drawn[1]], drawn[1], True)


@pytest.mark.asyncio
async def test_a_forced_push_does_not_make_the_old_commits_a_base(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(negotiate, "FAR_GENERATIONS", 20)
    monkeypatch.setattr(push_plan, "RUNG_COMMITS", 10)
    story = Story()
    drawn = graph("1; " + "; ".join(f"{n}:{n - 1 if n != 61 else 1}" for n in range(2, 121)))
    await story.do(story.push(drawn.bundle(range(1, 61)), drawn[60]))
    await story.do(story.push(drawn.bundle(range(61, 121)), drawn[120], force=True))
    reply = await ask(story, [drawn[30]], [drawn[120]])
    assert (reply["ack"], reply["common_base"], reply["ready"]) == ([drawn[30]], None, False)
    reply = await ask(story, [drawn[30], drawn[70]], [drawn[120]])
    assert (reply["common_base"], reply["ready"]) == (drawn[70], True)
