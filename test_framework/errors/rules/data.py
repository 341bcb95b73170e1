"""Migrations, Redis and the database: classes and SQLSTATEs first, words only where a driver has nothing better."""

from __future__ import annotations

import errno

from test_framework.errors.categories import REPRODUCE, Category, Responsibility
from test_framework.errors.evidence import Evidence, RuleFinding, short

REFUSED = (errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOENT, errno.EPIPE, errno.ETIMEDOUT, 10061)
GONE_STATES = ("08", "57P", "28", "3D", "53", "55000", "58", "XX")
MISSING_STATES = ("42P01", "42703")
WRONG_STATES = ("22", "23", "25", "26", "34", "40", "42", "44", "55P", "57014", "P0", "0A")
AWAY = r"connection (?:was )?(?:closed|refused|reset|lost|terminated)|connect call failed|cannot connect|terminating connection|server closed the connection|connection is closed|connection_lost|unexpected connection_lost"


def migration(seen: Evidence) -> RuleFinding | None:
    """Tables that are not those of the code: never migrated, or a migration that is wrong or was never written."""
    behind = seen.link("commitstream.db.migrate.SchemaError")
    alembic = seen.link("alembic.")
    inside = next(
        (frame for frame in reversed(seen.frames) if frame.owner == "app" and "/migrations/" in frame.file), None
    )
    if alembic or (inside and not behind):
        where = f" at {inside}" if inside else ""
        return RuleFinding(
            Category.MIGRATION,
            Responsibility.CODE,
            f"a migration can't be applied{where}: {seen.said()}",
            0.93,
            "migration",
            "invoke db.check",
        )
    if any(frame.file.startswith("alembic/") for frame in seen.frames):
        return RuleFinding(
            Category.MIGRATION,
            Responsibility.CODE,
            f"the migrations can't be followed: {seen.said()}",
            0.9,
            "migration",
            "invoke db.check",
        )
    if behind and not seen.says("the database is at migration"):
        return RuleFinding(
            Category.MIGRATION, Responsibility.CODE, seen.said(behind), 0.93, "migration", "invoke db.check"
        )
    if behind:
        return RuleFinding(
            Category.MIGRATION,
            Responsibility.INFRASTRUCTURE,
            seen.said(behind),
            0.93,
            "unmigrated",
            "invoke db.upgrade",
        )
    missing = seen.sqlstate in MISSING_STATES or seen.says(
        r"no such table|no such column|relation \"\S+\" does not exist|column \S+ does not exist|has no column named"
    )
    if not missing or seen.fact("in_models") is not True:
        return None
    name = seen.fact("missing")
    if seen.fact("in_migrations"):
        return RuleFinding(
            Category.MIGRATION,
            Responsibility.INFRASTRUCTURE,
            f"the database has no {name}: its migrations were never applied",
            0.88,
            "unmigrated",
            "invoke db.upgrade",
        )
    return RuleFinding(
        Category.MIGRATION,
        Responsibility.CODE,
        f"the models have {name}, and no migration makes it",
        0.9,
        f"migration of {name}",
        "invoke db.check",
    )


def redis(seen: Evidence) -> RuleFinding | None:
    link = seen.link("redis.exceptions.", "commitstream.bus.base.BusAway")
    if link is None:
        return None
    wrong = seen.exactly(
        "redis.exceptions.ResponseError",
        "redis.exceptions.DataError",
        "redis.exceptions.NoScriptError",
        "redis.exceptions.PubSubError",
    )
    if wrong and not seen.says(
        r"max number of clients|NOAUTH|WRONGPASS|OOM|LOADING|MASTERDOWN|MISCONF|NOREPLICAS|CLUSTERDOWN|without any password|invalid (?:username-)?password|NOPERM|BUSY "
    ):
        cause = f"a wrong command for Redis, at {seen.place()}: {seen.said(wrong)}"
        return RuleFinding(Category.REDIS, seen.blamed, cause, 0.85, f"redis command {seen.place()}", REPRODUCE)
    shows = seen.state_of("redis")
    cause = f"Redis {redis_trouble(seen)}{f' ({shows})' if shows else ''}: {seen.said(link)}"
    return RuleFinding(Category.REDIS, Responsibility.INFRASTRUCTURE, cause, 0.95 if shows else 0.88, "service redis")


def redis_trouble(seen: Evidence) -> str:
    troubles = (
        (r"OOM|maxmemory", "is full"),
        (r"NOAUTH|WRONGPASS|password|NOPERM", "does not take our password"),
        (r"READONLY|MASTERDOWN", "takes no writes"),
        (r"max number of clients", "takes no more clients"),
        (r"LOADING", "is still loading its data"),
        (r"time(?:d )?out|did not answer", "does not answer"),
    )
    return next((words for pattern, words in troubles if seen.says(pattern)), "can't be reached")


def database(seen: Evidence) -> RuleFinding | None:
    """Postgres tells by SQLSTATE what SQLite and the drivers tell in words."""
    link = seen.link(
        "sqlalchemy.exc.",
        "asyncpg.",
        "sqlite3.",
        "commitstream.db.database.DatabaseAway",
        "psycopg.",
        "commitstream.application.DatabaseRefused",
    )
    if link is None:
        return None
    if seen.exactly("sqlalchemy.exc.TimeoutError") or seen.sqlstate == "53300":
        cause = f"all connections are in use, and none was given back in time, at {seen.place()}: {seen.said()}"
        fault = seen.blamed
        return RuleFinding(Category.DATABASE, fault, cause, 0.85, f"connections {seen.place()}", REPRODUCE)
    state = seen.sqlstate
    if state == "55006":  # somebody else is connected to what should be copied or dropped
        return RuleFinding(
            Category.ISOLATION,
            Responsibility.TEST,
            f"another test still uses that database: {seen.said()}",
            0.8,
            "in use",
        )
    if state.startswith(GONE_STATES) or (not state.startswith(WRONG_STATES) and away(seen)):
        shows = seen.state_of("postgres")
        cause = f"the database {database_trouble(seen)}{f' ({shows})' if shows else ''}: {seen.said()}"
        return RuleFinding(
            Category.DATABASE,
            Responsibility.INFRASTRUCTURE,
            cause,
            0.95 if shows or state else 0.85,
            "service postgres",
        )
    cause = f"the database refuses a statement of {seen.place('app', 'test')}: {seen.said()}"
    return RuleFinding(Category.DATABASE, seen.blamed, cause, 0.85, f"statement {seen.place('app', 'test')}", REPRODUCE)


def away(seen: Evidence) -> bool:
    known = seen.link("commitstream.db.database.DatabaseAway", "sqlite3.DatabaseError") and seen.says(
        r"unable to open database|malformed|not a database|disk I/O error|readonly database"
    )
    connecting = seen.link("ConnectionError", "TimeoutError") or seen.errno(*REFUSED) or seen.says(AWAY)
    lost = seen.exactly("asyncpg.exceptions._base.InterfaceError") and seen.says("connection is closed")
    return bool(known or connecting or lost)


def database_trouble(seen: Evidence) -> str:
    troubles = (
        (r"password|authentication|pg_hba", "does not take our password"),
        (r"database \"\S*\" does not exist", "is not there"),
        (r"unable to open|malformed|not a database|disk I/O", "file can't be used"),
        (r"terminat|closed|lost", "broke off the connection"),
        (r"time(?:d )?out", "does not answer"),
    )
    return next((words for pattern, words in troubles if seen.says(pattern)), "can't be reached")


def bare_connection(seen: Evidence) -> RuleFinding | None:
    """A refused or lost connection that no driver has named: the library whose line it was says to what."""
    link = seen.link("ConnectionError", "TimeoutError") or seen.errno(*REFUSED)
    if link is None:
        return None
    if seen.through("asyncpg/", "psycopg"):
        shows = seen.state_of("postgres")
        cause = (
            f"the database {database_trouble(seen)}{f' ({shows})' if shows else ''}: {seen.said() or short(link.type)}"
        )
        return RuleFinding(
            Category.DATABASE, Responsibility.INFRASTRUCTURE, cause, 0.9 if shows else 0.8, "service postgres"
        )
    if seen.through("redis/", "hiredis"):
        shows = seen.state_of("redis")
        cause = f"Redis {redis_trouble(seen)}{f' ({shows})' if shows else ''}: {seen.said() or short(link.type)}"
        return RuleFinding(Category.REDIS, Responsibility.INFRASTRUCTURE, cause, 0.9 if shows else 0.8, "service redis")
    return None


RULES = (migration, redis, database, bare_connection)
