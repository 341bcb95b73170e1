"""One migrated database that is only ever copied: made once per server by the real migrations, then sealed.

Its name holds a hash of the folder of an application's migrations, and one of everything that they are made of, so that a server
which stays up between runs is never asked for yesterday's tables, and serves several applications. Copies carry the run's name: what a killed run left on such a server goes when the next one begins.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

import asyncpg
from sqlalchemy import make_url

from test_framework.project import Tables, project
from test_framework.services.run import is_held, lease_of
from test_framework.services.stack import Stack
from test_framework.services.state import ServiceError

LOCK, LOCK_SECONDS = "hashtext('the test kit: templates')", 60
TEMPLATE = "template"
COPY = "test"
CONNECTION_LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asyncpg says on a connection whose other end is gone; the last, where it was told so while nobody asked."""


class PostgresTemplate:
    """Makes copies of the migrated database on one server, or of one that is ready there, and drops them."""

    def __init__(self, url: str, stack: Stack, ready: str = "", migrations: Tables | None = None) -> None:
        self._url = make_url(url).set(drivername="postgresql+asyncpg")
        self._stack = stack
        self._migrations = migrations = project().migrations() if migrations is None else migrations
        self._application = hashlib.sha256(str(migrations.versions).encode()).hexdigest()[:8]
        self._name = ready or f"{TEMPLATE}_{stack.digest}_{self._application}_{digest_of_migrations(migrations)}"
        self._prepared = False
        self._made_elsewhere = bool(ready)

    async def copy(self, owner: str) -> str:
        """Make a database, named after the run and its owner, and return its URL."""
        name = f"{COPY}_{self._stack.digest}_{self._stack.run}_{owner}_{secrets.token_hex(3)}"
        async with self._ready() as connection:
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._name}"')
        return self._of(name)

    async def drop(self, url: str) -> int:
        """Drop a copy, whoever is still connected, and return how many connections it has seen."""
        name = str(make_url(url).database)
        async with self._ready() as connection:
            seen = await connection.fetchval("SELECT sessions FROM pg_stat_database WHERE datname = $1", name)
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        return int(seen or 0)

    @asynccontextmanager
    async def _ready(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection to the server, on which the template is known to be; not kept, as copying leaves 20 MB in its process."""
        connection = await connect(self._of(str(self._url.database)), "the test kit: templates")
        try:
            if not self._made_elsewhere and not (self._prepared and await self._is_there(connection)):
                await self._prepare(connection)
                self._prepared = True
            yield connection
        except BaseException:
            connection.terminate()
            raise
        await connection.close()

    async def _is_there(self, connection: asyncpg.Connection) -> bool:
        """Whether it still is: a server may have been made anew."""
        return bool(await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", self._name))

    async def _prepare(self, connection: asyncpg.Connection) -> None:
        """Migrate the template unless another worker has; it gets its name only when it is complete."""
        async with one_at_a_time(connection):
            found = {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
            await self._sweep(connection, found)
            if self._name in found:
                return
            draft = f"{self._name}_draft"
            await connection.execute(f'DROP DATABASE IF EXISTS "{draft}" WITH (FORCE)')
            await connection.execute(f'CREATE DATABASE "{draft}"')
            async with project().connect(self._of(draft)) as engine:
                await self._migrations.upgrade(engine)
            await connection.execute(f'ALTER DATABASE "{draft}" RENAME TO "{self._name}"')
            await connection.execute(f'ALTER DATABASE "{self._name}" IS_TEMPLATE true ALLOW_CONNECTIONS false')

    async def _sweep(self, connection: asyncpg.Connection, found: set[str]) -> None:
        """Drop the templates of this application's earlier migrations, and the copies of runs that are over."""
        for name in sorted(found - {self._name}):
            kind, _, rest = name.partition(f"_{self._stack.digest}_")
            if kind == TEMPLATE and rest.startswith(f"{self._application}_"):
                await connection.execute(f'ALTER DATABASE "{name}" IS_TEMPLATE false')
            elif kind != COPY or self._lives(run=rest.partition("_")[0]):
                continue
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _lives(self, run: str) -> bool:
        lease = lease_of(self._stack.directory.with_name(f"{self._stack.digest}-{run}"))
        return lease.exists() and is_held(lease)

    def _of(self, database: str) -> str:
        return self._url.set(database=database).render_as_string(hide_password=False)


async def connect(url: str, application: str) -> asyncpg.Connection:
    """Connect for the kit itself, under a name that says so."""
    plain = url.replace("postgresql+asyncpg://", "postgresql://", 1)
    return await asyncpg.connect(plain, timeout=10, server_settings={"application_name": application})


@asynccontextmanager
async def one_at_a_time(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Wait until no other worker or run is at work on the templates; the server keeps the lock, and drops it with its holder."""
    await connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
    try:
        await connection.execute(f"SELECT pg_advisory_lock({LOCK})")
    except asyncpg.LockNotAvailableError:
        why = f"somebody else has been migrating it for {LOCK_SECONDS} s"
        raise ServiceError("there is no migrated template of a database", why, "invoke services.status") from None
    finally:
        await connection.execute("RESET lock_timeout")
    yield  # where this fails the connection is ended, and the lock with it
    await connection.execute(f"SELECT pg_advisory_unlock({LOCK})")


@cache
def digest_of_migrations(migrations: Tables) -> str:
    """Return a short hash of all that decides which tables the migrations make."""
    return migrations.fingerprint()[:16]
