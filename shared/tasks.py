"""Several awaitables at once, as one step of the longest chain of calls."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")


async def all_of(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Their results, in order. The first failure cancels the others, waits for them, and is raised as itself.

    Nothing is left running behind an answer: in Lambda it would go on in the middle of the next request.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except ExceptionGroup as failures:
        first = failures.exceptions[0]
        raise first from first.__cause__
    return [task.result() for task in tasks]


async def pair(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Both results, of two awaitables of different types; failures as in `all_of`."""
    results: list[Any] = await all_of([first, second])
    return results[0], results[1]
