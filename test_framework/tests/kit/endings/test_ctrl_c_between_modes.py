"""Ctrl-C while all modes are run one after the other: the run that is at work ends in good order, and is the last."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from test_framework.running.planted import DEADLINE_SECONDS, Planted
from test_framework.waiting import comes_true

pytestmark = [
    pytest.mark.needs("posix"),
    pytest.mark.timeout(60),
]

TAKES_ITS_TIME = """
import pathlib, threading, time

def test_it():
    try:
        pathlib.Path("begun").touch()
        threading.Event().wait(20)
    finally:
        time.sleep(1)
        pathlib.Path("ended").touch()
"""


def test_the_run_ends_in_good_order_and_no_other_is_begun(planted: Planted) -> None:
    planted.file("pytest.ini", "[pytest]\naddopts = -p test_framework.plugin -p no:anyio\n")
    planted.file("tests/unit/test_it.py", TAKES_ITS_TIME)

    with planted.started([sys.executable, "-m", "test_framework.modes", "-n0"]) as process:
        comes_true((planted.root / "begun").exists, "the test that takes its time", DEADLINE_SECONDS)
        os.killpg(process.pid, signal.SIGINT)
        said, complained = process.communicate(timeout=DEADLINE_SECONDS)

    assert process.returncode == 2, said + complained
    assert (planted.root / "ended").exists()
    assert "exit code 2: the run was interrupted" in said
    assert "=== integration" not in said
    assert complained.endswith("interrupted: no other mode is begun\n")
    assert "Traceback" not in complained
