"""The command that waits for the database and applies the missing migrations."""

from __future__ import annotations

import asyncio
import sys
import time
from enum import IntEnum

from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from commitstream.db.database import Database, DatabaseAway, NotADatabaseError
from commitstream.db.migrate import Migrations, SchemaError, Standing
from commitstream.settings import EngineSettings

MIGRATION_SECONDS = 3600.0
RETRY_SECONDS = 0.5
WAIT_SECONDS = 60.0


class Outcome(IntEnum):
    """The exit codes of the command, beside 2 for settings that can't be used."""

    DONE = 0
    REFUSED = 1
    UNREACHABLE = 3
    INTERRUPTED = 130


def run(settings: EngineSettings, migrations: Migrations, timeout: float = WAIT_SECONDS) -> Outcome:
    """Migrate the database that the settings name; `timeout` is how long to wait for it."""
    try:
        return asyncio.run(_run(settings, migrations, timeout))
    except KeyboardInterrupt:
        _complain("interrupted: a migration that was not complete was rolled back; run it again")
        return Outcome.INTERRUPTED


async def _run(settings: EngineSettings, migrations: Migrations, timeout: float) -> Outcome:
    database = Database(settings.database_url, pool=1, statement_timeout=MIGRATION_SECONDS)
    try:
        if (reason := await _wait_for(database, timeout)) is not None:
            _complain(
                f"the database did not answer within {timeout:g} s: {reason}. Check DATABASE_URL, and that it runs"
            )
            return Outcome.UNREACHABLE
        before = await migrations.standing(database.engine)
        await migrations.upgrade(database.engine)
        after = await migrations.standing(database.engine)
        after.require_usable()
    except (SchemaError, CommandError, NotADatabaseError) as error:
        _complain(str(error))
        return Outcome.REFUSED
    except (DBAPIError, DatabaseAway) as error:
        _complain(f"the migration failed, and nothing of it was kept: {_reason(error)}")
        return Outcome.REFUSED
    finally:
        await database.close()
    _say(_moved(before, after))
    return Outcome.DONE


async def _wait_for(database: Database, timeout: float) -> str | None:
    """Wait until the database answers; return the last reason where it didn't."""
    deadline = time.monotonic() + timeout
    announced = False
    while True:
        try:
            async with asyncio.timeout(max(0.1, deadline - time.monotonic())):
                await database.ping()
            return None
        except NotADatabaseError:
            raise  # a retry would find the same file
        except (DBAPIError, OSError, TimeoutError) as error:
            if time.monotonic() + RETRY_SECONDS >= deadline:
                return _reason(error)
            if not announced:
                announced = True
                url = database.engine.url.set(query={}).render_as_string()
                _say(f"waiting up to {timeout:g} s for the database {url}: {_reason(error)}")
        await asyncio.sleep(RETRY_SECONDS)


def _reason(error: Exception) -> str:
    """Return the first line of the error of the database or its driver, without the SQL."""
    cause = error if isinstance(error, DBAPIError) else error.__cause__
    message = str(cause.orig if isinstance(cause, DBAPIError) else error)
    return (message.strip().splitlines() or [type(error).__name__])[0]


def _moved(before: Standing, after: Standing) -> str:
    if after.ahead:
        return f"the database is at {after.current}, which this code doesn't have: a newer release has migrated it"
    if before == after:
        return f"the database is at {after.current}, as before"
    return f"the database went from {before.current or 'no migration'} to {after.current}"


def _say(message: str) -> None:
    print(message, flush=True)  # noqa: T201


def _complain(message: str) -> None:
    print(message, file=sys.stderr)  # noqa: T201
