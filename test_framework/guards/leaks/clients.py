"""Clients that were left open: of the database, of Redis, and WebSockets. Each library is watched from its import on."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterator
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from test_framework.guards.leaks.arrivals import Arrivals
from test_framework.guards.leaks.kinds import ResourceKind
from test_framework.guards.leaks.objects import Objects
from test_framework.guards.leaks.origins import Birth, birth


class CheckedOut:
    """Connections that were taken out of a pool and not given back."""

    name = "database connection"
    setting = False

    def __init__(self) -> None:
        self._out: WeakKeyDictionary[Any, Birth] = WeakKeyDictionary()

    def watch(self, module: ModuleType) -> None:
        from sqlalchemy import event
        from sqlalchemy.pool.base import Pool

        event.listen(Pool, "checkout", self._taken)
        event.listen(Pool, "checkin", self._given_back)
        event.listen(Pool, "detach", self._given_back)

    def _taken(self, connection: object, record: object, holder: object) -> None:
        self._out[record] = birth(2)

    def _given_back(self, connection: object, record: object) -> None:
        self._out.pop(record, None)

    def now(self) -> dict[Hashable, Any]:
        return {id(record): record for record in list(self._out)}

    def birth(self, key: object, value: object) -> Birth | None:
        return self._out.get(value)

    def tell(self, key: object, value: object) -> str:
        return "was taken out of its pool and not given back: close the session or connection that holds it"

    def clear(self, key: object, before: object, after: Any) -> None:
        with contextlib.suppress(Exception):
            after.invalidate()


class ClientKinds:
    """The kinds of clients, and what a client that outlives the test may open while it runs."""

    def __init__(self, arrivals: Arrivals) -> None:
        self.checked_out = CheckedOut()
        self.sessions = Objects("database session", lambda session: session.in_transaction(), _tell_session)
        self.pools = Objects("database engine", lambda pool: _held(pool) > 0, _tell_pool)
        self.redis = Objects("Redis connection", lambda connection: connection.is_connected, _tell_redis)
        self.subscriptions = Objects("Redis subscription", _is_heard, _tell_subscription)
        self.websockets = Objects("WebSocket", lambda socket: socket.state.name in {"OPEN", "CONNECTING"}, _tell_socket)
        self.redis_pools = Objects("Redis pool", lambda pool: True, repr)
        self.services = Objects("services of a run", lambda run: run.lease.is_locked, _tell_services)
        arrivals.expect("test_framework.services.run", lambda module: self.services.watch(module.Run))
        arrivals.expect("sqlalchemy", self.checked_out.watch)
        arrivals.expect("sqlalchemy.pool.base", lambda module: self.pools.watch(module.Pool))
        arrivals.expect("sqlalchemy.orm.session", lambda module: self.sessions.watch(module.Session))
        arrivals.expect("redis.asyncio.connection", self._watch_redis)
        arrivals.expect("redis.asyncio.client", lambda module: self.subscriptions.watch(module.PubSub))
        arrivals.expect("websockets.asyncio.connection", lambda module: self.websockets.watch(module.Connection))

    def _watch_redis(self, module: ModuleType) -> None:
        self.redis.watch(module.AbstractConnection)
        self.redis_pools.watch(module.ConnectionPool)

    @property
    def kinds(self) -> list[ResourceKind]:
        return [
            self.services,
            self.subscriptions,
            self.websockets,
            self.sessions,
            self.checked_out,
            self.pools,
            self.redis,
        ]

    def pools_now(self) -> set[int]:
        """Which pools there are."""
        return {id(pool) for objects in (self.pools, self.redis_pools) for pool, _ in objects.all()}

    def connections_of(self, pools: set[int]) -> Iterator[Any]:
        """The connections of these pools and of those of wider fixtures, whenever they were opened."""
        for objects, connections in ((self.pools, _of_engine), (self.redis_pools, _of_redis)):
            for pool, born in objects.all():
                if id(pool) in pools or (born.owner is not None and born.owner.lasting):
                    yield from connections(pool)


def _is_heard(pubsub: Any) -> bool:
    """Whether Redis still sends it anything: a subscription ends with its connection."""
    connection = pubsub.connection
    return bool(pubsub.subscribed and connection is not None and connection.is_connected)


def _held(pool: Any) -> int:
    count = getattr(pool, "checkedin", None)
    return int(count()) if callable(count) else 0


def _of_engine(pool: Any) -> Iterator[Any]:
    waiting: Any = getattr(getattr(pool, "_pool", None), "_queue", ())
    for record in list(getattr(waiting, "_queue", waiting)):
        yield getattr(record, "driver_connection", None)


def _of_redis(pool: Any) -> Iterator[Any]:
    yield from [*pool._available_connections, *pool._in_use_connections]


def descriptor_of(connection: Any) -> int | None:
    """The descriptor behind a client's connection, whichever library it is of."""
    writer = getattr(connection, "_writer", None)
    transport = getattr(connection, "_transport", None) or getattr(writer, "transport", None)
    with contextlib.suppress(Exception):
        return int(transport.get_extra_info("socket").fileno() if transport else connection.fileno())
    return None


def thread_of(connection: Any) -> object:
    """The thread that works for a client's connection: aiosqlite has one for each."""
    return getattr(connection, "_thread", None)


def _tell_session(session: Any) -> str:
    return f"a transaction of {type(session).__name__} is still open: commit, roll back or close it"


def _tell_pool(pool: Any) -> str:
    return f"its pool still holds {_held(pool)} connections: dispose of the engine"


def _tell_services(run: Any) -> str:
    return f"{run.stack.run} was begun and not ended, containers and servers included: stop_all() its pool"


def _tell_redis(connection: Any) -> str:
    kwargs = {name: getattr(connection, name, None) for name in ("host", "port", "path")}
    where = kwargs["path"] or f"{kwargs['host']}:{kwargs['port']}"
    return f"to {where} is still open: await client.aclose()"


def _tell_subscription(pubsub: Any) -> str:
    names = [*pubsub.channels, *pubsub.patterns]
    shown = ", ".join(name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names[:3])
    return f"to {shown} still stands: await pubsub.aclose()"


def _tell_socket(connection: Any) -> str:
    side = "server" if type(connection).__name__.startswith("Server") else "client"
    return f"a {side}'s connection is still {connection.state.name.lower()}: close it"
