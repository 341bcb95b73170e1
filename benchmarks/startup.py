"""From the command to ready: `python -m app` on SQLite, on an empty database and on one that is there

The clock starts when the process is made and stops when /health/ready says so. The peer is an empty FastAPI page under
uvicorn: what Python, FastAPI and uvicorn cost before anything of one's own.
"""

from __future__ import annotations

import asyncio
import http.client
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter, sleep

from app.settings import ROOT
from benchmarks.measure import Row, take_turns
from benchmarks.stage import free_port

BAR_SECONDS = 0.7
START_SECONDS = 20.0
TURNS = 7
EMPTY_PAGE = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
app.get("/health/ready")(lambda: {})
uvicorn.run(app, port=int(sys.argv[1]), log_level="critical")
"""


def run() -> list[Row]:
    """Start each several times, in turns."""
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(_measure(Path(directory)))


async def _measure(directory: Path) -> list[Row]:
    numbers = itertools.count()

    async def empty() -> float:
        return _seconds_to_ready(("-m", "app"), _environment(directory / f"{next(numbers)}.db"))

    async def migrated() -> float:
        return _seconds_to_ready(("-m", "app"), _environment(directory / "migrated.db"))

    async def page() -> float:
        return _seconds_to_ready(("-c", EMPTY_PAGE), {})

    seconds = await take_turns({"empty": empty, "migrated": migrated, "page": page}, TURNS)
    return [
        Row.under(
            "ready on a database that is there, and an empty page",
            seconds["migrated"],
            BAR_SECONDS,
            "s",
            seconds["page"],
        ),
        Row.under("ready on an empty database, and an empty page", seconds["empty"], BAR_SECONDS, "s", seconds["page"]),
    ]


def _environment(database: Path) -> Mapping[str, str]:
    return {"DATABASE_URL": f"sqlite+aiosqlite:///{database}", "REDIS_URL": "", "APP_LOG_LEVEL": "warning"}


def _seconds_to_ready(command: Sequence[str], environment: Mapping[str, str]) -> float:
    port = free_port()
    arguments = (*command, *(("--port", str(port)) if command[0] == "-m" else (str(port),)))
    began = perf_counter()
    process = subprocess.Popen(
        (sys.executable, *arguments), cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.DEVNULL
    )
    try:
        while not _ready(port):
            if process.poll() is not None or perf_counter() - began > START_SECONDS:
                raise RuntimeError(f"python {' '.join(command)[:20]} was not ready within {START_SECONDS:g} s")
            sleep(0.005)
        return perf_counter() - began
    finally:
        process.terminate()
        process.wait()


def _ready(port: int) -> bool:
    with suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.client.OK
    return False
