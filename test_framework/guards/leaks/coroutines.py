"""Coroutines that nobody awaited. Python warns when one is collected, and by then another test may be running.

So the youngest objects are looked through before and after each test, which costs what a few thousand objects cost; garbage
is collected only when such a coroutine is among them.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Hashable
from types import CoroutineType
from typing import Any
from weakref import WeakSet

from test_framework.guards.leaks.origins import Birth, Line, is_ours
from test_framework.guards.leaks.tasks import Tasks


class Coroutines:
    name = "coroutine"
    setting = False

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._suspected: WeakSet[Any] = WeakSet()
        self._collections = -1

    def now(self) -> dict[Hashable, Any]:
        self._suspected.update(one for one in self._young() if _never_begun(one))
        found = [one for one in self._suspected if _never_begun(one)]
        if not found:
            return {}
        in_tasks = {id(task.get_coro()) for task in self._tasks.now().values()}
        return {id(one): one for one in found if id(one) not in in_tasks}

    def birth(self, key: object, value: Any) -> Birth | None:
        origin = getattr(value, "cr_origin", None) or ()
        lines = tuple(Line(file, number, function) for file, number, function in origin if is_ours(file))
        return Birth(lines, None) if lines else None

    def tell(self, key: object, value: Any) -> str:
        return f"{getattr(value, '__qualname__', value)}() was called and never awaited"

    def clear(self, key: object, before: object, after: Any) -> None:
        after.close()

    def _young(self) -> list[Any]:
        """List the coroutines among the objects that are young, or have ceased to be since this was last asked."""
        found = _coroutines_in(gc.get_objects(generation=0))
        collections = sum(generation["collections"] for generation in gc.get_stats())
        if collections != self._collections:  # only a collection lets an object grow older
            self._collections = collections
            found += _coroutines_in(gc.get_objects(generation=1))
        return found


def _coroutines_in(objects: list[Any]) -> list[Any]:
    return [one for one in objects if type(one) is CoroutineType] if CoroutineType in set(map(type, objects)) else []


def _never_begun(coroutine: Any) -> bool:
    return inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED
