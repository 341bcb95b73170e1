"""A test that is green by luck is found, named, and can be run again as it failed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from test_framework.proving.soak import Done, Plan, Verdicts
from test_framework.running.planted import Planted

pytestmark = pytest.mark.timeout(100)

LUCKY = """
import asyncio

async def test_steady():
    await asyncio.sleep(0)

async def test_lucky():
    first, done = [], asyncio.Event()

    async def one():
        await asyncio.sleep(0)
        first.append(1)

    async def two():
        await asyncio.sleep(0)
        first.append(2)

    for _ in range(3):
        await asyncio.gather(one(), two())
    assert first == [1, 2] * 3, first
"""


def soak(planted: Planted, *arguments: str) -> subprocess.CompletedProcess[str]:
    planted.file(
        "pytest.ini",
        "[pytest]\nasyncio_mode = auto\naddopts = -p test_framework.plugin -p no:anyio\n"
        "asyncio_default_fixture_loop_scope = session\nasyncio_default_test_loop_scope = session\n",
    )
    command = [
        sys.executable,
        "-m",
        "test_framework.proving.soak",
        "soak",
        "--seed=1",
        "--delays=3",
        "--workers=0",
        *arguments,
    ]
    environment = planted.environment()
    return subprocess.run(
        command, cwd=planted.root, env=environment, capture_output=True, text=True, timeout=80, check=False
    )


def test_a_test_that_relies_on_who_is_sooner_flips_under_delays_and_its_run_is_named(planted: Planted) -> None:
    planted.file("tests/unit/test_it.py", LUCKY)

    done = soak(planted, "--runs=6", "tests/unit")

    assert done.returncode == 1, done.stdout + done.stderr
    assert "flipped: tests/unit/test_it.py::test_lucky" in done.stdout
    assert "again: pytest --mode=lightweight --randomly-seed=" in done.stdout
    assert "test_steady" not in done.stdout.rpartition("6 runs")[2]


def test_its_harmless_twin_stays_green(planted: Planted) -> None:
    planted.file(
        "tests/unit/test_it.py",
        LUCKY.replace("assert first == [1, 2] * 3", "assert sorted(first) == [1, 1, 1, 2, 2, 2]"),
    )

    done = soak(planted, "--runs=2", "tests/unit")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 runs, 2 tests each, 0 red, 0 tests flipped" in done.stdout


@pytest.mark.parametrize(("second", "flips"), [("failed", ["a"]), ("passed", [])])
def test_only_other_endings_are_flips(second: str, flips: list[str]) -> None:
    plan = Plan("lightweight", 1, 0, "random", 0.0, ())
    runs = [Done(plan, 0, 0.1, {"a": "passed", "b": "passed"}), Done(plan, 0, 0.1, {"a": second})]

    assert list(Verdicts(runs).flips) == flips
