"""However a run ends, its services are gone soon: measured against the time that the same run took to start them.

Both slow down with the machine, so the promise holds on a busy one too. A quiet machine takes about a second, two with containers.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from test_framework.running.planted import DEADLINE_SECONDS, Planted
from test_framework.services.stack import Stack
from test_framework.tests.kit.services.conftest import on
from test_framework.tests.kit.services.remains import Remains, gone_within
from test_framework.waiting import comes_true

pytestmark = [pytest.mark.needs("posix"), pytest.mark.timeout(300)]

ROUNDS = 3
PROVIDERS = ("bundled", "compose")
TEST = """
import threading
from pathlib import Path


def test_it(pool):
    pool.get_all()
    Path("run").write_text(pool.run)
    Path("ready").touch()
    if {waits}:
        threading.Event().wait(60)
"""
SLOW = """
import threading, time

import psutil


def pytest_sessionfinish(session):
    threading.Event().wait(time.time() - psutil.Process().create_time())
"""


@dataclass(frozen=True)
class Times:
    """How long a run took until its services were ready, and until all of it was gone once it was to end."""

    start: float
    gone: float

    def __str__(self) -> str:
        return f"gone after {self.gone:.2f} s, ready after {self.start:.2f} s"


def measure(root: Path, provider: str, workers: str, number: signal.Signals | None, conftest: str = "") -> Times:
    """Run a test with services, end the run by a signal or let it end by itself, and wait until nothing of it is left."""
    planted = Planted(root)
    planted.file("tests/integration/test_it.py", TEST.format(waits=number is not None))
    planted.file("conftest.py", conftest)
    ready = root / "ready"
    began = time.time()
    with planted.begun("--mode=integration", workers, SERVICES=provider) as process:
        comes_true(ready.exists, "a test with its services", 2 * DEADLINE_SECONDS)
        ends = ready.stat().st_mtime if number is None else time.time()
        if number is signal.SIGTERM:
            process.send_signal(number)
        elif number is not None:
            os.killpg(process.pid, number)
        process.communicate(timeout=2 * DEADLINE_SECONDS)
        look = partial(Remains(Stack.of_a_run((root / "run").read_text())).look, containers=provider == "compose")
        assert gone_within(2 * DEADLINE_SECONDS, look) is not None
    return Times(ready.stat().st_mtime - began, time.time() - ends)


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
@pytest.mark.parametrize("provider", on(*PROVIDERS))
@pytest.mark.parametrize("number", [None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=str)
def test_a_run_is_gone_as_fast_as_it_started(
    number: signal.Signals | None, provider: str, workers: str, tmp_path: Path
) -> None:
    found: list[Times] = []
    for attempt in range(ROUNDS):  # the best of some, since other programs use this machine too
        found.append(measure(tmp_path / str(attempt), provider, workers, number))
        if found[-1].gone < found[-1].start:
            break

    print(f"\n{number}, {provider}, {workers}: {found[-1]}")
    assert found[-1].gone < found[-1].start, "; ".join(map(str, found))


def test_a_run_that_ends_slowly_is_measured_as_slow(tmp_path: Path) -> None:
    times = measure(tmp_path, "bundled", "-n0", signal.SIGTERM, SLOW)

    assert times.gone > times.start, str(times)
