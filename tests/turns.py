"""The scheduler of the tests: calls to the AWS in memory wait until it lets them through.

    turns = Turns(seed)
    cloud.gate = turns.turn
    push = turns.begin("push", work)
    await turns.step()                               one call of any task, chosen by the seed
    await turns.resume("push", THE_REF_IS_SWAPPED)   the calls of one task, up to a point
    turns.kill(push)

`tests.points` has the points. A loop whose `when_idle` is `let_one_go` needs no `step`.
"""

import asyncio
import math
import random
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from tests.faults import Crash
from tests.proof.memory import Effect

Point = Callable[[Effect], bool]


@dataclass(eq=False, slots=True)
class Actor:
    """A request or a job: a task with the tasks that it starts."""

    name: str
    since: float = math.inf
    """When it began, by the clock of the test."""
    is_dead: bool = False


_actor: ContextVar[Actor | None] = ContextVar("actor", default=None)


@dataclass(eq=False, slots=True)
class Waiting:
    """A call that waits for its turn."""

    future: asyncio.Future[None]
    actor: Actor | None
    effect: Effect
    patience: int
    """The number of turns that it lets pass."""


class Turns:
    """Lets one waiting call through at a time. `now` is a clock that only moves here."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 1_800_000_000.0
        self.waiting: list[Waiting] = []
        self.tasks: dict[asyncio.Task[Any], Actor] = {}
        """The tasks that were begun and not reaped."""
        self.after_turn: Callable[[Waiting], None] = self._pass_time
        """Called for each turn, used or let pass."""
        self._is_open = False

    def clock(self) -> float:
        return self.now

    def _pass_time(self, _: Waiting) -> None:
        self.now += self.random.random() / 50

    # ── Tasks ─────────────────────────────────────────────────────────────────────────────────────

    async def turn(self, effect: Effect, patience: int = 0) -> None:
        """Wait until this call is let through. Raises Crash in a dead task."""
        actor = _actor.get()
        if actor and actor.is_dead:
            raise Crash
        if self._is_open:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(Waiting(future, actor, effect, patience))
        await future
        if actor and actor.is_dead:
            raise Crash

    def begin(
        self, name: str, work: Coroutine[Any, Any, Any], since: float = math.inf
    ) -> asyncio.Task[Any]:
        """Start a task. It returns None if it is killed."""
        actor = Actor(name, since)

        async def live() -> Any:
            _actor.set(actor)
            try:
                return await work
            except BaseException:
                # A death can look like any error from inside.
                if not actor.is_dead:
                    raise
            finally:
                work.close()

        task = asyncio.get_running_loop().create_task(live())
        self.tasks[task] = actor
        return task

    def kill(self, task: asyncio.Task[Any]) -> None:
        """End a task where it is: it makes no further call."""
        actor = self.tasks[task]
        actor.is_dead = True
        mine = [waiting for waiting in self.waiting if waiting.actor is actor]
        self.waiting = [waiting for waiting in self.waiting if waiting.actor is not actor]
        for waiting in mine:
            if not waiting.future.done():
                waiting.future.set_result(None)

    def reap(self) -> list[str]:
        """Forget the tasks that ended. Returns their names. Raises the error of any task."""
        done = [task for task in self.tasks if task.done()]
        names = []
        for task in done:
            names.append(self.tasks.pop(task).name)
            task.result()
        return names

    # ── Turns by seed ─────────────────────────────────────────────────────────────────────────────

    def let_one_go(self) -> bool:
        """Let any waiting call through. Returns whether there was one."""
        while self.waiting:
            number = self.random.randrange(len(self.waiting))
            chosen = self.waiting[number]
            if chosen.future.done():
                self._remove(number)
                continue
            self.after_turn(chosen)
            if chosen.patience:
                chosen.patience -= 1
                continue
            self._remove(number)
            chosen.future.set_result(None)
            return True
        return False

    def _remove(self, number: int) -> None:
        self.waiting[number] = self.waiting[-1]
        self.waiting.pop()

    async def settle(self) -> None:
        """Wait until every task waits for a turn."""
        loop: Any = asyncio.get_running_loop()
        while loop._ready:
            await asyncio.sleep(0)

    async def step(self) -> bool:
        """Let one call of any task through. Returns False if no task waits."""
        await self.settle()
        if not self.let_one_go():
            return False
        await self.settle()
        return True

    # ── Turns by name ─────────────────────────────────────────────────────────────────────────────

    async def resume(self, name: str, *until: Point) -> None:
        """Let the calls of one task through, except those that wait at one of these points."""
        await self.settle()
        while ready := self._ready(name, until):
            self.waiting.remove(ready[0])
            ready[0].future.set_result(None)
            await self.settle()

    def _ready(self, name: str, until: tuple[Point, ...]) -> list[Waiting]:
        return [
            waiting
            for waiting in self.waiting
            if waiting.actor
            and waiting.actor.name == name
            and not waiting.future.done()
            and not any(is_at(waiting.effect) for is_at in until)
        ]

    async def all_through(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run work to its end while all other tasks wait."""
        self._is_open = True
        try:
            return await work
        finally:
            self._is_open = False
