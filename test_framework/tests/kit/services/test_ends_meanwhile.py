"""A run that ends while one of its workers still starts services: nothing of what that worker makes may outlive the run."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from test_framework import CHECKOUT
from test_framework.running.hearing import rest_of
from test_framework.running.planted import Planted
from test_framework.service_pool import ServicePool
from test_framework.services.stack import Stack
from test_framework.tests.kit.services.conftest import on
from test_framework.tests.kit.services.remains import Remains, gone_within
from test_framework.waiting import comes_true

WORKER = """
import sys
from test_framework.service_pool import ServicePool
provider, run = sys.argv[1:]
pool = ServicePool.join(run, provider, worker="gw0")
print("begun", flush=True)
pool.get_all()
print("up", flush=True)
sys.stdin.read()
"""
PLANTED = """
import threading
from pathlib import Path

import pytest


@pytest.mark.parametrize("turn", range(4))
def test_it(pool, turn):
    Path("run").write_text(pool.run)
    pool.get_all()
    threading.Event().wait(20)
"""
MOMENTS, TURNS = 5, 2
LONGEST = {"bundled": 0.4, "native": 0.4, "compose": 1.6}
SECONDS = 40.0


def begin(provider: str, run: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, provider, run],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    )


@pytest.mark.parametrize("killed", [False, True], ids=["at work", "killed"])
@pytest.mark.parametrize("provider", on(*sorted(LONGEST)))
@pytest.mark.timeout(180)
def test_what_a_worker_is_still_making_ends_with_the_run(provider: str, killed: bool, binaries_on_path: None) -> None:
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    runs: list[Remains] = []
    told: list[str] = []

    for _ in range(MOMENTS):
        pool = ServicePool(provider)
        pool.begin()
        pool.shared = True
        with begin(provider, pool.run) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "begun\n"
            time.sleep(moments.uniform(0.0, LONGEST[provider]))
            if killed:
                worker.send_signal(signal.SIGKILL)
            pool.stop_all()
            assert worker.stdin is not None
            worker.stdin.close()
            said, complained = rest_of(worker, SECONDS)
        told.append(said + complained)
        runs.append(Remains(pool.stack))

    left = [run.found for run in runs if run.look(containers=provider == "compose")]
    assert left == [], f"seed {seed}: {told}"
    for words in told if not killed else ():
        assert "up\n" in words or "has ended: nothing is done for it any more" in words, words


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("provider", on("bundled", "compose"))
@pytest.mark.timeout(180)
def test_a_run_of_tests_that_ends_while_its_workers_start_services_leaves_nothing(
    provider: str, number: signal.Signals, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    runs: list[Remains] = []

    for turn in range(TURNS):
        planted = Planted(tmp_path / str(turn))
        planted.file("tests/integration/test_it.py", PLANTED)
        begun = planted.root / "run"
        with planted.begun("--mode=integration", "-n2", SERVICES=provider) as process:
            comes_true(begun.exists, "a test that starts services", SECONDS)
            time.sleep(moments.uniform(0.0, LONGEST[provider]))
            process.send_signal(number)
            said, complained = process.communicate(timeout=SECONDS)
        assert process.returncode != 0, said
        assert "Traceback" not in complained or number == signal.SIGKILL, complained
        runs.append(Remains(Stack.of_a_run(begun.read_text())))
        look = partial(runs[-1].look, containers=provider == "compose")
        assert gone_within(SECONDS, look) is not None, f"seed {seed}: {runs[-1].found}"

    # and nothing turns up later
    assert [run.found for run in runs if run.look(containers=provider == "compose")] == [], f"seed {seed}"
