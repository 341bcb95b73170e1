"""Tasks that are still pending when their test is over, in the loops that outlive it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterator
from types import CoroutineType, FrameType
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from test_framework.guards.leaks.origins import Birth, Line, birth, is_ours

TaskFactory = Callable[..., asyncio.Future[Any]]


class Tasks:
    name = "task"
    setting = False

    def __init__(self) -> None:
        self._runners: WeakSet[asyncio.Runner] = WeakSet()
        self._births: WeakKeyDictionary[asyncio.Future[Any], Birth] = WeakKeyDictionary()

    def watch(self, runner: asyncio.Runner) -> None:
        """Note where each task of this runner's loop begins."""
        loop = runner.get_loop()
        self._runners.add(runner)
        loop.set_task_factory(self._noting(loop.get_task_factory()))

    def _noting(self, make: TaskFactory | None) -> TaskFactory:
        def create(
            loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any
        ) -> asyncio.Future[Any]:
            task = make(loop, work, **options) if make else asyncio.Task(work, loop=loop, **options)
            self._births[task] = birth(2)
            return task

        return create

    def every_loop(self) -> list[asyncio.AbstractEventLoop]:
        """The loops that are not closed."""
        loops = []
        for runner in self._runners:
            try:
                loops.append(runner.get_loop())
            except RuntimeError:  # it is closed
                continue
        return [loop for loop in loops if not loop.is_closed()]

    def loops(self) -> list[asyncio.AbstractEventLoop]:
        """The loops that can be turned now."""
        return [loop for loop in self.every_loop() if not loop.is_running()]

    def turn(self, seconds: float) -> None:
        """Let the loops go on for a moment, so that what is about to end can end."""
        for loop in self.loops():
            loop.run_until_complete(asyncio.sleep(seconds))

    def now(self) -> dict[Hashable, asyncio.Task[Any]]:
        return {task: task for loop in self.loops() for task in asyncio.all_tasks(loop)}

    def birth(self, key: asyncio.Task[Any], value: object) -> Birth | None:
        return self._births.get(key)

    def tell(self, key: asyncio.Task[Any], value: object) -> str:
        return f"{key.get_name()!r}, {' < '.join(waits_at(key)) or 'not yet begun'}"

    def clear(self, key: asyncio.Task[Any], before: object, after: object) -> None:
        key.cancel()
        loop = key.get_loop()
        if not loop.is_running() and not loop.is_closed():
            loop.run_until_complete(asyncio.wait([key], timeout=0.2))
            if key.done() and not key.cancelled():
                key.exception()  # it has been seen; what counts is that the task was left


def waits_at(task: asyncio.Task[Any], lines: int = 3) -> list[str]:
    """Say where a task waits, innermost line of this project first."""
    frames = list(await_chain(task.get_coro()))
    ours = [frame for frame in frames if is_ours(frame.f_code.co_filename)] or frames
    places = [Line(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name) for frame in reversed(ours)]
    return [f"waiting at {place}" if number == 0 else str(place) for number, place in enumerate(places[:lines])]


def await_chain(waiting: object) -> Iterator[FrameType]:
    """Follow what a coroutine awaits, outermost frame first."""
    while waiting is not None:
        if isinstance(waiting, CoroutineType):
            frame, waiting = waiting.cr_frame, waiting.cr_await
        else:
            frame = getattr(waiting, "gi_frame", None) or getattr(waiting, "ag_frame", None)
            waiting = getattr(waiting, "gi_yieldfrom", None) or getattr(waiting, "ag_await", None)
        if frame is not None:
            yield frame
