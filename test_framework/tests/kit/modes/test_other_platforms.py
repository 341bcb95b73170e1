"""The service and the kit are imported, and a lightweight file is run, without what Windows and macOS lack."""

from __future__ import annotations

import subprocess
import sys

import pytest

from test_framework import CHECKOUT
from test_framework.running.planted import Planted
from test_framework.tests.kit.modes import other_platform

PLATFORMS = pytest.mark.parametrize("platform", ["win32", "darwin"])
THERE = [sys.executable, "-W", "ignore", "-m", other_platform.__name__]
SECONDS = 50.0
FILE = """
import asyncio, sys, threading, pytest

def test_good(): assert sys.platform == {platform!r}

async def test_awaits(): await asyncio.sleep(0.01)

@pytest.mark.parametrize("number", [1, 2])
def test_parametrised(number): assert number

def test_bad(): assert 1 == 2
"""
HANGS = """
import threading, pytest

@pytest.mark.timeout(1)
def test_hangs(): threading.Event().wait(30)
"""

pytestmark = [pytest.mark.timeout(2 * SECONDS), pytest.mark.needs("linux")]


@PLATFORMS
def test_every_module_is_imported_on_another_platform(platform: str) -> None:
    command = [*THERE, platform, "import"]

    ended = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=SECONDS, check=False)

    assert (ended.returncode, ended.stdout) == (0, ""), ended.stdout + ended.stderr


@PLATFORMS
def test_a_lightweight_file_runs_on_another_platform(planted: Planted, platform: str) -> None:
    planted.file("tests/unit/test_it.py", FILE.format(platform=platform))

    code, said = run_there(planted, platform)

    assert code == 1, said
    assert "test_bad" in said
    assert "1 failed, 4 passed" in said, said


@PLATFORMS
def test_a_timeout_ends_a_run_on_another_platform(planted: Planted, platform: str) -> None:
    planted.file("tests/unit/test_it.py", HANGS)

    code, said = run_there(planted, platform)

    assert code == 1, said
    assert "Timeout" in said, said


def run_there(planted: Planted, platform: str) -> tuple[int, str]:
    """Run pytest on a planted project there; its exit code, and what it printed."""
    command = planted.command("-n0", "--no-record", "--assert=plain")
    with planted.started([*THERE, platform, *command[command.index("pytest") :]]) as process:
        said, complained = process.communicate(timeout=SECONDS)
    return process.returncode, said + complained
