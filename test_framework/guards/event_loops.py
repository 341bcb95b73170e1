"""One loop for everything, made by whoever runs the program: what can be read of that rule off the source.

A loop run at import or inside a coroutine fails with "cannot be called from a running event loop" as soon as someone
imports the module from async code; a client or a lock made at import belongs to the first loop that touches it and
fails in the second. The running half of the rule is checked while tests run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from test_framework import SERVICE
from test_framework.guards.source import Finding, Guard, Source, python_below, words

RUNS_A_LOOP = words("asyncio.run asyncio.Runner uvloop.run anyio.run")
ASKS_FOR_A_LOOP = frozenset({"asyncio.get_event_loop", "asyncio.new_event_loop", "asyncio.set_event_loop"})
PRIMITIVES = words(
    "asyncio.Barrier asyncio.BoundedSemaphore asyncio.Condition asyncio.Event asyncio.Future asyncio.Lock"
    " asyncio.LifoQueue asyncio.PriorityQueue asyncio.Queue asyncio.Semaphore"
)
CLIENTS = frozenset(
    f"{owner}.{name}"
    for owner, names in {
        "redis.asyncio": "Redis StrictRedis ConnectionPool BlockingConnectionPool Sentinel RedisCluster from_url"
        " Redis.from_url ConnectionPool.from_url BlockingConnectionPool.from_url",
        "sqlalchemy.ext.asyncio": "create_async_engine async_engine_from_config",
        "httpx": "AsyncClient",
        "aiosqlite": "connect",
        "asyncpg": "connect create_pool",
    }.items()
    for name in names.split()
)
WAIVER = "or say why it must be so: `# on purpose: <why>`"


def check(files: Sequence[Source]) -> list[Finding]:
    """Find loops run where none may be run, things bound to a loop at import, and sleep that stops the loop."""
    return [
        Finding(source.path, line, message)
        for source in files
        for line, message in _Reader(source.tree).faults()
        if not source.on_purpose(line)
    ]


def imported_names(tree: ast.Module) -> dict[str, str]:
    """Say what each imported name means, dotted and in full, wherever in the module it is imported."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                names[name.asname or name.name.split(".")[0]] = name.name if name.asname else name.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for name in node.names:
                names[name.asname or name.name] = f"{node.module}.{name.name}"
    return names


def full_name(node: ast.expr, names: dict[str, str]) -> str:
    """Write `sleep` or `t.sleep` as `time.sleep`; a part that is no plain name is left out."""
    match node:
        case ast.Name(id=name):
            return names.get(name, name)
        case ast.Attribute(value=value, attr=attribute):
            return f"{full_name(value, names)}.{attribute}"
        case _:
            return ""


class _Reader:
    """Walks a module and keeps in mind when what it reads will run: at import, in a coroutine, or later."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._names = imported_names(tree)

    def faults(self) -> Iterator[tuple[int, str]]:
        for statement in self._tree.body:
            if not _only_as_program(statement):
                yield from self._read(statement, "at import")

    def _read(self, node: ast.AST, when: str) -> Iterator[tuple[int, str]]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from self._read_function(node, when)
            return
        if isinstance(node, ast.Call):
            yield from ((node.lineno, fault) for fault in self._judge(full_name(node.func, self._names), when))
        for child in ast.iter_child_nodes(node):
            yield from self._read(child, when)

    def _read_function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, when: str
    ) -> Iterator[tuple[int, str]]:
        now = [*node.args.defaults, *(default for default in node.args.kw_defaults if default)]
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        if not isinstance(node, ast.Lambda):
            now += node.decorator_list
        for part in now:
            yield from self._read(part, when)
        inside = "in a coroutine" if isinstance(node, ast.AsyncFunctionDef) else "later"
        for statement in body:
            yield from self._read(statement, inside)

    def _judge(self, name: str, when: str) -> Iterator[str]:
        if when == "later":
            return
        runs = name in RUNS_A_LOOP or name.endswith((".run_until_complete", ".run_forever"))
        if runs and when == "at import":
            yield f"{name}() at import needs a loop before anyone has made one; call it in main(), {WAIVER}"
        elif runs:
            yield f"{name}() in a coroutine fails because a loop already runs; await the work instead, {WAIVER}"
        elif name in ASKS_FOR_A_LOOP:
            remedy = "ask for it inside the coroutine" if when == "at import" else "use asyncio.get_running_loop()"
            yield f"{name}() {when} may answer with a loop that nobody runs; {remedy}, {WAIVER}"
        elif name in PRIMITIVES | CLIENTS and when == "at import":
            yield f"{name}() at import belongs to whichever loop uses it first; make it at start-up, {WAIVER}"
        elif name == "time.sleep" and when == "in a coroutine":
            yield f"time.sleep() in a coroutine stops everything else on the loop; await asyncio.sleep(), {WAIVER}"


def _only_as_program(statement: ast.stmt) -> bool:
    """Recognise `if __name__ == "__main__":`, which no import runs."""
    match statement:
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"), comparators=[ast.Constant(value="__main__")])):
            return True
        case _:
            return False


GUARD = Guard("event_loops", python_below(*SERVICE, "test_framework", "tests"), check)
