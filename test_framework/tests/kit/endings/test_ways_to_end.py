"""Whatever way a run of tests ends, with a service up: its stderr is free of Python's last words, and nothing is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from test_framework.running.planted import DEADLINE_SECONDS, Planted
from test_framework.waiting import comes_true

pytestmark = [
    pytest.mark.needs("posix"),
    pytest.mark.timeout(60),
]

LAST_WORDS = (
    "Exception ignored",
    "atexit",
    "Event loop is closed",
    "I/O operation on closed file",
    "Task was destroyed",
    "never awaited",
)
TESTS = """
import asyncio, os, threading
from pathlib import Path

import pytest


@pytest.fixture
def redis(pool):
    service = pool.get("redis")
    Path("server-%s" % os.getpid()).write_text(service.identity)
    yield service
    if ENDING == "teardown":
        raise ValueError("in a fixture's teardown")
    if ENDING in {"twice"}:
        Path("teardown").touch()
        threading.Event().wait(20)


async def test_it(redis):
    if ENDING == "failure":
        assert redis is None
    if ENDING == "thread":
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
    if ENDING == "task":
        asyncio.create_task(fail())
        await asyncio.sleep(0.01)
    if ENDING == "os._exit":
        os._exit(3)
    if ENDING in {"ctrl-c", "twice", "term", "hup", "kill"}:
        Path("here").touch()
        await asyncio.sleep(20)


async def fail():
    raise ValueError("in a task")
"""
GREEN = frozenset({"normal"})


def appears(path: Path) -> None:
    comes_true(path.exists, path.name, DEADLINE_SECONDS)


def ctrl_c(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGINT)


def once(number: signal.Signals) -> Callable[[Path, subprocess.Popen[str]], None]:
    def send(root: Path, process: subprocess.Popen[str]) -> None:
        appears(root / "here")
        process.send_signal(number)

    return send


def at_the_terminal(root: Path, process: subprocess.Popen[str]) -> None:
    appears(root / "here")
    ctrl_c(process)


def impatiently(root: Path, process: subprocess.Popen[str]) -> None:
    appears(root / "here")
    ctrl_c(process)
    appears(root / "teardown")
    ctrl_c(process)


def let_be(root: Path, process: subprocess.Popen[str]) -> None:
    """It ends by itself."""


ENDINGS: dict[str, Callable[[Path, subprocess.Popen[str]], None]] = {
    "normal": let_be,
    "failure": let_be,
    "thread": let_be,
    "task": let_be,
    "teardown": let_be,
    "os._exit": let_be,
    "ctrl-c": at_the_terminal,
    "twice": impatiently,
    "term": once(signal.SIGTERM),
    "hup": once(signal.SIGHUP),
    "kill": once(signal.SIGKILL),
}


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_it_ends_quietly_and_leaves_nothing(tmp_path: Path, ending: str, workers: str) -> None:
    planted = Planted(tmp_path)
    planted.file("tests/integration/test_it.py", f"ENDING = {ending!r}\n{TESTS}")

    with planted.begun("--mode=integration", workers, SERVICES="bundled") as process:
        ENDINGS[ending](tmp_path, process)
        said, complained = process.communicate(timeout=DEADLINE_SECONDS)

    for words in LAST_WORDS:
        assert words not in complained, complained
    assert (process.returncode == 0) is (ending in GREEN), said + complained
    nobody_is_left(tmp_path, process.pid)


WAITS_AT_THE_END = """
import threading
from pathlib import Path

def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput"):
        Path("here").touch()
        threading.Event().wait(1)
"""


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_run_that_is_ending_goes_on_to_its_end(tmp_path: Path, workers: str) -> None:
    planted = Planted(tmp_path)
    planted.file("tests/integration/test_it.py", f"ENDING = 'normal'\n{TESTS}")
    planted.file("conftest.py", WAITS_AT_THE_END)

    with planted.begun("--mode=integration", workers, SERVICES="bundled") as process:
        ENDINGS["term"](tmp_path, process)
        said, complained = process.communicate(timeout=DEADLINE_SECONDS)

    assert process.returncode == 0, said + complained
    assert "SIGTERM while the run was ending, which goes on" in complained
    assert "Traceback" not in complained
    assert "1 passed" in said
    nobody_is_left(tmp_path, process.pid)


def nobody_is_left(root: Path, group: int) -> None:
    """Whoever worked in this run is gone: its process group, and the servers that it started."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while left := [*members(group), *servers(root)]:
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.05)


def members(group: int) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(str(process))
        except (ProcessLookupError, psutil.Error):
            continue
    return found


def servers(root: Path) -> list[str]:
    files = list(root.glob("server-*"))
    assert files, "no test got as far as its server"
    pids = [int("".join(filter(str.isdigit, file.read_text())) or 0) for file in files]
    return [f"server {pid}" for pid in pids if psutil.pid_exists(pid) and "zombie" not in psutil.Process(pid).status()]
