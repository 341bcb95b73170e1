"""Waiting for another thread or process: the entry points of the standard library that stop the loop meanwhile.

What would not wait passes: a lock that is free, a queue that holds something, the result of a future that is done.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from test_framework.guards.leaks.origins import project_frame

if TYPE_CHECKING:
    from blockbuster.blockbuster import BlockBusterFunction

MAY_WAIT = [("threading.py", {"start"}), ("asyncio/base_events.py", {"shutdown_default_executor"})]
"""A thread that starts is waited for until it runs, and one that has ended a loop's pool until it is gone."""
CONDITION = "threading.Condition.wait"
"""What a queue, a future, an event and a semaphore wait with."""


def waits(watched: list[ModuleType], excluded: list[ModuleType]) -> dict[str, BlockBusterFunction]:
    """List the functions through which every other wait of these kinds leads; a future, a queue and an event have one."""
    from blockbuster.blockbuster import BlockBusterFunction

    never_waits: dict[str, tuple[Any, Callable[..., bool]]] = {
        CONDITION: (threading.Condition, lambda _, timeout=None: timeout == 0),
        "threading.Thread.join": (threading.Thread, lambda one, timeout=None: timeout == 0 or not one.is_alive()),
        "threading.Lock.acquire": (ProjectLock, ProjectLock.would_not_wait),
        "subprocess.Popen.wait": (subprocess.Popen, lambda one, timeout=None: timeout == 0 or one.poll() is not None),
        "subprocess.Popen.communicate": (subprocess.Popen, lambda *_, **__: False),
        "os.system": (os, lambda _: False),
    }
    found: dict[str, BlockBusterFunction] = {}
    for name, (owner, passes) in never_waits.items():
        found[name] = BlockBusterFunction(
            owner,
            name.rpartition(".")[2],
            scanned_modules=watched,
            excluded_modules=excluded,
            can_block_functions=[*MAY_WAIT],
            can_block_predicate=passes,
        )
        found[name].full_name = name
    return found


class ProjectLock:
    """A lock that a line of this project made; those of libraries stay as they are, and as fast."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        taken: bool = self._lock.acquire(blocking, timeout)
        return taken

    def would_not_wait(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Say whether this thread would get it at once, or go on without it."""
        if not blocking or timeout == 0:
            return True
        free: bool = self._lock.acquire(False)
        if free:
            self._lock.release()
        return free

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)


def watch_locks() -> Callable[[], None]:
    """Have `threading.Lock()` and `RLock()` make a watched lock where this project calls them; return how to stop."""
    real = {name: getattr(threading, name) for name in ("Lock", "RLock")}
    for name, make in real.items():
        setattr(threading, name, _kind(name, make))

    def stop() -> None:
        for name, make in real.items():
            setattr(threading, name, make)

    return stop


def _kind(name: str, make: Callable[[], Any]) -> type:
    sample = type(make())

    class LockType(type):
        def __instancecheck__(cls, one: object) -> bool:
            return isinstance(getattr(one, "_lock", one), sample)

        def __call__(cls) -> Any:
            return ProjectLock(make()) if project_frame(sys._getframe(1)) else make()

    return LockType(name, (), {"__module__": threading.__name__})
