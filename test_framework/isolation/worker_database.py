"""A worker's own copy of the migrated database, emptied after every test by one call on the server.

Commits are real, so several connections, background tasks and other processes just work. The call empties the tables that were
written and sets sequences back; a transaction that stands in its way is named, ended, and charged to the test that left it open.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from test_framework.isolation.template import CONNECTION_LOST, PostgresTemplate, connect
from test_framework.services.statistics import Costs

HERE = Path(__file__).parent
PATIENCE = "200ms"
END_MILLISECONDS = 2000
MOST_SHOWN = 8
KIT = "the test kit: isolation"
GONE = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ObjectNotInPrerequisiteStateError,
)
BLOCKERS = """
SELECT DISTINCT a.pid, a.application_name AS name, a.state, left(a.query, 200) AS query, a.backend_type AS kind,
       round(extract(epoch FROM clock_timestamp() - a.xact_start)::numeric, 1)::float AS seconds
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
JOIN test_isolation.tables t ON t.relation = l.relation
WHERE l.granted AND l.pid <> pg_backend_pid() AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class IsolationError(AssertionError):
    """A test left the database in a state that isolation has to answer for; the next test is spared."""


@dataclass(frozen=True)
class Blocker:
    """A connection that holds a lock which a reset waits for."""

    pid: int
    name: str
    state: str
    query: str
    seconds: float

    def __str__(self) -> str:
        name = self.name or "a connection without a name"
        return (
            f"{name} (pid {self.pid}, {self.state}, transaction open for {self.seconds:g} s), last query: {self.query}"
        )


class WorkerDatabase:
    """The database that one worker's tests share, one after the other."""

    def __init__(self, template: PostgresTemplate, worker: str, costs: Costs) -> None:
        self._template = template
        self._worker = worker
        self._costs = costs
        self._url = ""
        self._connection: asyncpg.Connection | None = None
        self._watches_schema = False

    @property
    def known_url(self) -> str:
        """Where it is, or nothing before it was first asked for."""
        return self._url

    async def url(self) -> str:
        """Where it is; made when first asked for."""
        if not self._url:
            self._url = await self._copy()
            await self._install()
        return self._url

    async def reset(self) -> list[str]:
        """Empty what was written and return the tables' names; raise where a test left what it must not leave."""
        began = time.perf_counter()
        try:
            return await self._reset()
        finally:
            self._costs.resets += 1
            self._costs.reset_seconds += time.perf_counter() - began

    async def renew(self) -> None:
        """Throw the database away; the next test gets another."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        if self._url:
            url, self._url = self._url, ""
            self._costs.sessions += await self._template.drop(url)

    async def _reset(self) -> list[str]:
        try:
            found = await self._call()
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            blockers = await self._blockers()
            await self._end_and_empty(blockers)
            if blockers:
                raise IsolationError(_blocked(blockers)) from None
            return []
        except GONE:
            with suppress(*GONE):  # the test ended connections, the database, or its server, and that is its affair
                await self.renew()
            return []
        if found["schema"]:
            await self.renew()
            raise IsolationError(_changed(found["schema"]))
        if found["seeded"]:
            await self.renew()
        return list(found["tables"] or ())

    async def _call(self) -> asyncpg.Record:
        connection = await self._connected()
        if not self._watches_schema:
            await connection.execute("SELECT nextval('test_isolation.ddl')")
        return await connection.fetchrow("SELECT * FROM test_isolation.reset()")

    async def _blockers(self) -> list[Blocker]:
        connection = await self._connected()
        found = await connection.fetch(BLOCKERS)
        return [
            Blocker(
                row["pid"], row["name"], row["state"] or "", " ".join((row["query"] or "").split()), row["seconds"] or 0
            )
            for row in found
            if row["kind"] == "client backend"  # housekeeping of the server's own is nobody's fault
        ]

    async def _end_and_empty(self, blockers: Sequence[Blocker]) -> None:
        try:
            connection = await self._connected()
            for blocker in blockers:
                await connection.execute(f"SELECT pg_terminate_backend({blocker.pid}, {END_MILLISECONDS})")
            found = await self._call()
        except CONNECTION_LOST:
            await self.renew()
        else:
            if found["schema"] or found["seeded"]:
                await self.renew()

    async def _copy(self) -> str:
        began = time.perf_counter()
        url = await self._template.copy(self._worker)
        self._costs.copies += 1
        self._costs.copy_seconds += time.perf_counter() - began
        return url

    async def _install(self) -> None:
        connection = await self._connected()
        superuser = await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        async with connection.transaction():
            await connection.execute((HERE / "install.sql").read_text(encoding="utf-8"))
            if superuser:
                await connection.execute((HERE / "watch_schema.sql").read_text(encoding="utf-8"))
        self._watches_schema = bool(superuser)
        await self._prepare(connection)

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._url, KIT)
            await self._prepare(self._connection)
        return self._connection

    async def _prepare(self, connection: asyncpg.Connection) -> None:
        await connection.execute(f"SET lock_timeout = '{PATIENCE}'")
        if self._watches_schema:  # triggers of the schema's own have no part in throwing rows away
            await connection.execute("SET session_replication_role = replica")


def _blocked(blockers: Sequence[Blocker]) -> str:
    lines = "\n".join(f"  {blocker}" for blocker in blockers)
    return (
        f"after {PATIENCE} the database could not be emptied: a transaction is still open on what this test wrote\n{lines}\n"
        "  next: end it before the test ends (`async with database.transaction()`), or await the task that holds it"
    )


def _changed(lines: Sequence[str]) -> str:
    shown = "\n".join(f"  {line}" for line in lines[:MOST_SHOWN])
    if len(lines) > MOST_SHOWN:
        shown += f"\n  and {len(lines) - MOST_SHOWN} more"
    return (
        f'this test changed the schema, which isolation "reset" does not undo:\n{shown}\n'
        '  next: mark it @pytest.mark.isolation("clone")'
    )
