"""Who holds the connections of a pool that is exhausted: which test's, which task's, and from which line of code."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

import greenlet
from sqlalchemy import event
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, Pool, QueuePool

NOT_THE_CALLER = (f"{os.sep}site-packages{os.sep}", f"{os.sep}asyncio{os.sep}", f"{os.sep}contextlib.py")
DEEPEST = 60
MOST_SHOWN = 10


@dataclass(frozen=True)
class Place:
    """A line of code, put into words only when somebody asks."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{os.path.relpath(self.file)}:{self.line} ({self.function})"


@dataclass(frozen=True)
class ConnectionHolder:
    """One checked-out connection."""

    pool: int
    test: str
    task: str
    place: Place | None
    since: float

    def __str__(self) -> str:
        return f"{self.place or 'an unknown line'}, in the task {self.task!r} of {self.test}, for {time.monotonic() - self.since:.1f} s"


class Holders:
    """Remembers who has checked out which connection, and says so when a pool has none left."""

    def __init__(self, test: Callable[[], str]) -> None:
        self._test = test
        self._held: dict[int, ConnectionHolder] = {}
        self._get = QueuePool._do_get

    def begin(self) -> None:
        event.listen(Pool, "checkout", self._checked_out)
        event.listen(Pool, "checkin", self._checked_in)
        held, get = self, self._get

        def get_or_tell(pool: QueuePool) -> ConnectionPoolEntry:
            try:
                return get(pool)
            except PoolTimeout as error:
                error.args = (f"{error.args[0]}\n{held.told(pool)}", *error.args[1:])
                raise

        QueuePool._do_get = get_or_tell  # type: ignore[assignment, method-assign]

    def end(self) -> None:
        QueuePool._do_get = self._get  # type: ignore[method-assign]
        event.remove(Pool, "checkout", self._checked_out)
        event.remove(Pool, "checkin", self._checked_in)

    def told(self, pool: Pool) -> str:
        """List who holds what of a pool, the longest first."""
        held = sorted((each for each in self._held.values() if each.pool == id(pool)), key=lambda each: each.since)
        shown = [f"  {holder}" for holder in held[:MOST_SHOWN]]
        more = [f"  and {len(held) - MOST_SHOWN} more"] if len(held) > MOST_SHOWN else []
        return "\n".join([f"{len(held)} connections are checked out:", *shown, *more])

    def _checked_out(self, connection: object, record: ConnectionPoolEntry, proxy: Any) -> None:
        try:
            task = asyncio.current_task()
        except RuntimeError:
            task = None
        self._held[id(record)] = ConnectionHolder(
            id(proxy._pool), self._test() or "no test", task.get_name() if task else "", caller(), time.monotonic()
        )

    def _checked_in(self, connection: object, record: ConnectionPoolEntry) -> None:
        self._held.pop(id(record), None)


def caller() -> Place | None:
    """The nearest line outside of libraries: SQLAlchemy calls its drivers in a greenlet, whose parent has the rest of the stack."""
    frame: FrameType | None = sys._getframe(1)
    current: Any = greenlet.getcurrent()
    for _ in range(DEEPEST):
        while frame is None and (current := current.parent) is not None:
            frame = current.gr_frame
        if frame is None:
            break
        file = frame.f_code.co_filename
        generated = file.startswith("<")
        if file != __file__ and not generated and not any(part in file for part in NOT_THE_CALLER):
            return Place(file, frame.f_lineno, frame.f_code.co_name)
        frame = frame.f_back
    return None
