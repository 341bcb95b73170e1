"""Locks, queues and clients live in one loop: the one they are made in.

asyncio itself notices the wrong loop only when somebody has to wait, Redis only when the first loop is closed, and a
database driver with "another operation is in progress". Here it is noticed at the first use, with both lines.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from types import ModuleType
from typing import Any
from weakref import ReferenceType, WeakKeyDictionary, ref

from test_framework.guards.leaks.arrivals import Arrivals
from test_framework.guards.leaks.objects import note_births
from test_framework.guards.leaks.origins import Birth, birth, project_frame
from test_framework.guards.loops.running import WAIVER, refuse_at_import
from test_framework.guards.offences import Offence, commit, excused, here

METHODS: dict[type, str] = {
    asyncio.Queue: "put get put_nowait get_nowait join",
    asyncio.Lock: "acquire",
    asyncio.Event: "wait set",
    asyncio.Condition: "wait notify notify_all",
    asyncio.Semaphore: "acquire",
    asyncio.Barrier: "wait",
}
MADE_AT_IMPORT = "it belongs to whichever loop uses it first; make it at start-up or in a fixture"
CLIENTS = {
    "redis.asyncio.client": "Redis",
    "sqlalchemy.ext.asyncio.engine": "AsyncEngine",
    "httpx": "AsyncClient",
}

Home = tuple[ReferenceType[asyncio.AbstractEventLoop], Birth]
UNKNOWN: Any = object()


class Homes:
    """Which loop each thing belongs to, and where that was settled."""

    def __init__(self) -> None:
        self._homes: WeakKeyDictionary[Any, Home | None] = WeakKeyDictionary()
        self._real: dict[tuple[type, str], Any] = {}

    def watch(self, arrivals: Arrivals) -> None:
        """Watch asyncio's own things, and clients from their import on."""
        for cls, methods in METHODS.items():
            self._watch_primitive(cls, methods.split())
        for module, name in CLIENTS.items():
            arrivals.expect(module, functools.partial(_watch_client, name=name))
        arrivals.expect("sqlalchemy", self._watch_pool)
        arrivals.expect("redis.asyncio.connection", self._watch_redis)

    def stop(self) -> None:
        for (cls, name), original in self._real.items():
            setattr(cls, name, original)

    def _watch_primitive(self, cls: type, methods: list[str]) -> None:
        begin = self._real[cls, "__init__"] = cls.__init__  # type: ignore[misc]

        @functools.wraps(begin)
        def make(made: Any, *arguments: Any, **options: Any) -> None:
            begin(made, *arguments, **options)
            maker = project_frame(sys._getframe(1))
            if maker is not None:
                loop = asyncio._get_running_loop()
                self._homes[made] = (ref(loop), birth()) if loop is not None else None
                if loop is None:
                    refuse_at_import(f"asyncio.{type(made).__name__}()", maker, MADE_AT_IMPORT)

        cls.__init__ = make  # type: ignore[misc]
        for name in methods:
            self._watch_method(cls, name)

    def _watch_method(self, cls: type, name: str) -> None:
        original = self._real[cls, name] = getattr(cls, name)

        @functools.wraps(original)
        def use(used: Any, *arguments: Any, **options: Any) -> Any:
            home = self._homes.get(used, UNKNOWN)
            if home is not UNKNOWN and (loop := asyncio._get_running_loop()) is not None:
                home = self._homes[used] = home or (ref(loop), birth())
                self._demand(home, f"asyncio.{type(used).__name__}")
            return original(used, *arguments, **options)

        setattr(cls, name, use)

    def _watch_pool(self, module: ModuleType) -> None:
        from sqlalchemy import event
        from sqlalchemy.pool.base import Pool

        def settle(connection: object, record: Any) -> None:
            loop = asyncio._get_running_loop()
            if loop is not None:
                record.info["home"] = ref(loop), birth(2)

        def demand(connection: object, record: Any, holder: object) -> None:
            home = record.info.get("home")
            if home is not None:
                self._demand(home, "a database connection")

        event.listen(Pool, "connect", settle)
        event.listen(Pool, "checkout", demand)

    def _watch_redis(self, module: ModuleType) -> None:
        cls = module.AbstractConnection
        connect, send = cls.connect, cls.send_packed_command

        @functools.wraps(connect)
        async def settle(connection: Any) -> None:
            if not connection.is_connected:
                self._homes[connection] = ref(asyncio.get_running_loop()), birth()
            await connect(connection)

        @functools.wraps(send)
        async def demand(connection: Any, *arguments: Any, **options: Any) -> None:
            home = self._homes.get(connection)
            if home is not None and connection.is_connected:
                self._demand(home, "a Redis connection")
            await send(connection, *arguments, **options)

        cls.connect, cls.send_packed_command = settle, demand

    def _demand(self, home: Home, what: str) -> None:
        loop = asyncio._get_running_loop()
        if loop is None or home[0]() is loop:
            return
        used = here()
        if excused(used.lines):
            return
        at = f", {used.lines[0]}" if used.lines else ""
        remedy = "make it where it is used, or give test and fixture the same loop_scope"
        raise Offence(commit(f"{what} of another loop, {home[1]}, is used{at}: {remedy}, {WAIVER}"))


def _watch_client(module: ModuleType, name: str) -> None:
    def refuse(made: object, begun: Birth) -> None:
        if asyncio._get_running_loop() is None:
            refuse_at_import(f"{type(made).__name__}()", sys._getframe(1), MADE_AT_IMPORT)

    note_births(getattr(module, name), refuse)
