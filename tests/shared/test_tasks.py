"""Several things at once: results in order, the first failure as itself, and nothing left
running.
"""

import asyncio
import time
import traceback

import pytest

from shared.errors import Damaged, NotFound
from shared.tasks import gather_all, gather_pair


async def after(steps: int, value: object) -> object:
    """The value, or the exception raised, after this many turns of the loop."""
    for _ in range(steps):
        await asyncio.sleep(0)
    if isinstance(value, Exception):
        raise value
    return value


@pytest.mark.asyncio
async def test_results_come_in_the_order_asked():
    assert await gather_all([after(3, "a"), after(0, "b"), after(1, "c")]) == ["a", "b", "c"]


@pytest.mark.asyncio
async def test_nothing_at_once_is_nothing():
    assert await gather_all([]) == []


@pytest.mark.asyncio
async def test_a_generator_will_do():
    assert await gather_all(after(0, n) for n in range(3)) == [0, 1, 2]


@pytest.mark.asyncio
async def test_they_run_side_by_side():
    meeting = asyncio.Barrier(3)
    assert len(await asyncio.wait_for(gather_all(meeting.wait() for _ in range(3)), 5)) == 3


@pytest.mark.asyncio
async def test_the_first_failure_is_raised_as_itself():
    failure = NotFound("first")
    with pytest.raises(NotFound) as raised:
        await gather_all([after(5, Damaged("later")), after(1, failure), after(0, "fine")])
    assert raised.value is failure
    assert "ExceptionGroup" not in "".join(traceback.format_exception(failure))


@pytest.mark.asyncio
async def test_a_failure_keeps_its_cause():
    """What AWS said is known from nothing else."""

    async def translated() -> None:
        try:
            raise OSError("from below")
        except OSError as error:
            raise Damaged("x") from error

    with pytest.raises(Damaged) as raised:
        await gather_all([translated()])
    assert repr(raised.value.__cause__) == "OSError('from below')"


@pytest.mark.asyncio
async def test_a_failure_within_a_failure_is_bare_as_well():
    failure = NotFound("deep")
    with pytest.raises(NotFound) as raised:
        await gather_all([gather_all([gather_pair(after(0, 1), after(1, failure))])])
    assert raised.value is failure


@pytest.mark.asyncio
async def test_the_others_are_cancelled_and_waited_for():
    ended: list[str] = []

    async def slow(name: str) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)  # an orderly end takes a moment
            ended.append(name)

    started = time.perf_counter()
    with pytest.raises(Damaged):
        await gather_all([slow("a"), after(2, Damaged("x")), slow("b")])
    assert sorted(ended) == ["a", "b"]
    assert time.perf_counter() - started < 5
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.asyncio
async def test_a_failure_while_being_cancelled_does_not_hide_the_first():
    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ValueError("second") from None

    with pytest.raises(NotFound, match="first"):
        await gather_all([stubborn(), after(1, NotFound("first"))])


@pytest.mark.asyncio
async def test_cancelling_the_whole_cancels_each():
    ended: list[int] = []

    async def slow(n: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(n)

    whole = asyncio.create_task(gather_all(slow(n) for n in range(3)))
    await asyncio.sleep(0.01)
    whole.cancel()
    with pytest.raises(asyncio.CancelledError):
        await whole
    assert sorted(ended) == [0, 1, 2]


@pytest.mark.asyncio
async def test_a_pair_is_two_of_different_types():
    assert await gather_pair(after(1, "a"), after(0, 2)) == ("a", 2)
    with pytest.raises(Damaged):
        await gather_pair(after(5, "a"), after(0, Damaged("b")))
