"""Parallel awaitables. They count as one step in the longest chain of calls."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")


async def gather_all(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines in parallel and return their results in order.

    The first failure cancels the other coroutines, waits for them, and is raised. So no coroutine
    runs after the reply: in Lambda it would continue during the next request.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except ExceptionGroup as failures:
        first = failures.exceptions[0]
        raise first from first.__cause__
    return [task.result() for task in tasks]


async def gather_pair(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Run two coroutines with results of different types in parallel.

    Failures as in `gather_all`.
    """
    results: list[Any] = await gather_all([first, second])
    return results[0], results[1]
