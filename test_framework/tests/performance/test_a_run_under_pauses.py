"""A real run of this project's tests, while somebody pauses its Redis again and again: all that changes is how long it takes."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from test_framework import CHECKOUT, reaper
from test_framework.services.choice import maker
from test_framework.services.stack import Stack
from test_framework.services.state import State
from test_framework.tests.kit.services.conftest import on

PAUSES = 20
START_SECONDS, RUN_SECONDS = 60.0, 240.0
LONGEST_GAP = 0.4
SUITE = ["tests/mission_critical"]


@pytest.mark.parametrize("provider", on("compose", "bundled"))
@pytest.mark.timeout(START_SECONDS + RUN_SECONDS)
def test_a_redis_that_is_paused_twenty_times_during_a_run_fails_nothing(provider: str) -> None:
    seed = random.randrange(2**32)
    with tempfile.TemporaryFile("w+") as output, started(provider, output.fileno()) as run:
        try:
            pauses = pause_at_random(run, provider, random.Random(seed))
            code = run.wait(RUN_SECONDS)
        finally:
            run.kill()
        output.seek(0)
        said = output.read()

    assert code == 0, f"seed {seed}, {pauses} pauses:\n{said[-6000:]}"
    assert " passed" in said
    assert "skipped" not in said.splitlines()[-1]
    assert pauses == PAUSES, f"the run was over after {pauses} pauses"
    healed = re.search(r"^healed redis (\d+) times", said, re.MULTILINE)
    assert healed, said[-2000:]
    assert int(healed[1]) >= PAUSES // 2  # the last may be over before anybody has looked


def started(provider: str, output: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pytest", "--mode=integration", "--no-record", *SUITE]
    environment = {**os.environ, "SERVICES": provider}
    return subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=output, stderr=subprocess.STDOUT)


def pause_at_random(run: subprocess.Popen[bytes], provider: str, chance: random.Random) -> int:
    """Pause the Redis of a run behind its back, and return how often that came about before the run was over."""
    stack = stack_of(run)
    redis = maker(provider)(stack)
    pauses = 0
    while pauses < PAUSES and run.poll() is None:
        time.sleep(chance.uniform(0.0, LONGEST_GAP))
        if redis.glance("redis") is State.STARTING:  # it runs; a glance does not ask whether it answers
            redis.pause("redis")
            pauses += 1
    return pauses


def stack_of(run: subprocess.Popen[bytes]) -> Stack:
    """Find the stack of a run by the watchdog that it has set, once its Redis is up."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and run.poll() is None:
        for register in registers_of(run):
            choice = register.with_name("redis.choice")
            if choice.exists() and not json.loads(choice.read_text() or "{}").get("warm"):
                return Stack.of_a_run(register.parent.name.partition("-")[2])
        time.sleep(0.02)
    raise AssertionError(f"the run had no Redis after {START_SECONDS:g} s, or ended with {run.poll()} before")


def registers_of(run: subprocess.Popen[bytes]) -> Iterator[Path]:
    """What the watchdogs of a run have in their care."""
    for child in psutil.Process(run.pid).children():
        with contextlib.suppress(psutil.Error):  # it may have ended by now
            words = child.cmdline()
            if reaper.COMMAND in words:
                yield Path(words[words.index(reaper.HOME) + 1])
