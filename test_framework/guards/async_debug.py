"""`--async-debug`: asyncio's debug mode, what held up the loop and where, and at a time-out who waits for what."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Iterable

from test_framework.guards.leaks.origins import Line, is_ours
from test_framework.guards.leaks.tasks import Tasks, await_chain

SLOW_SECONDS = 0.1


class SlowCallbacks(logging.Handler):
    """Keeps asyncio's own words on what took long: which handle, created where, how long."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith("Executing "):
            self.lines.append(message)

    def take(self) -> list[str]:
        """Tell once what was slow."""
        lines, self.lines = self.lines, []
        return lines


def debug(loop: asyncio.AbstractEventLoop) -> None:
    """Have a loop watch itself."""
    loop.set_debug(True)
    loop.slow_callback_duration = SLOW_SECONDS


def who_waits(tasks: Tasks) -> str:
    """Tell of every pending task what it awaits, down to the last line, and of every thread where it is."""
    pending = _all_tasks(tasks)
    parts = [f"{len(pending)} pending tasks"]
    parts += [_task(task, tasks) for task in pending]
    frames = sys._current_frames()
    threads = [thread for thread in threading.enumerate() if thread.ident in frames]
    parts.append(f"{len(threads)} threads")
    for thread in threads:
        stack = traceback.extract_stack(frames[thread.ident or 0])
        parts.append(
            f"thread {thread.name!r}" + _lines(f"{one.filename}:{one.lineno} in {one.name}" for one in stack[-6:])
        )
    return "\n".join(parts)


def _all_tasks(tasks: Tasks) -> list[asyncio.Task[object]]:
    """The tasks of every watched loop, also of the one that was interrupted in the middle of its work."""
    return [task for loop in tasks.every_loop() for task in asyncio.all_tasks(loop)]


def _task(task: asyncio.Task[object], tasks: Tasks) -> str:
    born = tasks.birth(task, task)
    frames = list(await_chain(task.get_coro())) or list(task.get_stack())
    chain = _lines(str(Line(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)) for frame in frames)
    awaited = _awaited(task)
    return f"task {task.get_name()!r}{f', {born}' if born and any(is_ours(line.file) for line in born.lines) else ''}{chain}{awaited}"


def _awaited(task: asyncio.Task[object]) -> str:
    waiter = getattr(task, "_fut_waiter", None)
    return f"\n    awaits {waiter!r}"[:300] if waiter is not None else ""


def _lines(places: Iterable[str]) -> str:
    return "".join(f"\n    {place}" for place in places)
