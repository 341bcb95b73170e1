"""What the leak checks add to each test: the same tests with `--leaks=fail` and with `--leaks=off`

The tests do next to nothing, in a process that has imported the service and holds an open database, so that what is
looked through has its usual size. The processor's time is taken inside the run, from the first test to the last: a test that
does nothing waits for nothing, and what other programs take is not counted.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from app.settings import ROOT
from benchmarks.measure import Row, take_turns

BAR_MILLISECONDS, BAR = 2, 1.5
TESTS = 400
TURNS = 5
PYPROJECT = """
[tool.pytest.ini_options]
addopts = ["-p", "test_framework.plugin", "-p", "no:anyio", "-p", "no:cacheprovider", "-p", "no:randomly"]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "session"
asyncio_default_test_loop_scope = "session"
"""
CODE = f"""
import asyncio, json, time
import pytest, pytest_asyncio
from sqlalchemy import text
from commitstream.db.database import Database
from app.main import create_app

MOMENTS = []

@pytest_asyncio.fixture(scope="session", loop_scope="session", autouse=True)
async def database(tmp_path_factory):
    folder = tmp_path_factory.mktemp("database")
    database = Database(f"sqlite+aiosqlite:///{{folder}}/a.db")
    async with database.reading() as session:
        await session.execute(text("SELECT 1"))
    yield database
    await database.close()
    print("seconds", json.dumps(MOMENTS[-1] - MOMENTS[0]))

@pytest.mark.parametrize("number", range({TESTS}))
async def test_next_to_nothing(number):
    MOMENTS.append(time.process_time())
    await asyncio.sleep(0)
"""


def run() -> list[Row]:
    """Run the tests both ways, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        planted = Path(folder, "tests", "unit", "test_nothing.py")
        planted.parent.mkdir(parents=True)
        planted.write_text(CODE, encoding="utf-8")
        Path(folder, "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
        return asyncio.run(_measure(folder))


async def _measure(folder: str) -> list[Row]:
    async def fail() -> float:
        return _milliseconds_a_test(folder, "fail")

    async def off() -> float:
        return _milliseconds_a_test(folder, "off")

    taken = await take_turns({"fail": fail, "off": off}, TURNS)
    return [
        Row.under("what looking for leaks adds to a test", taken["fail"] - taken["off"], BAR_MILLISECONDS, "ms"),
        Row.within("an async test that does nothing, with and without", taken["fail"], taken["off"], "ms", BAR),
    ]


def _milliseconds_a_test(folder: str, verdict: str) -> float:
    command = [sys.executable, "-m", "pytest", "-q", "-s", f"--leaks={verdict}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TEST_MODE": "lightweight"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the tests of the benchmark failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    (line,) = [line for line in done.stdout.splitlines() if "seconds " in line]
    seconds: float = json.loads(line.partition("seconds ")[2])
    return seconds * 1000 / (TESTS - 1)
