"""A test that is green by luck is found, named, and can be run again as it failed."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from test_framework.running.hearing import hearing
from test_framework.running.planted import Planted
from test_framework.waiting import comes_true

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


HANGS = """
import asyncio, pathlib

async def test_steady():
    await asyncio.sleep(0)

async def test_that_hangs_once():
    with open("turns", "a+") as turns:
        turns.write("x")
        if turns.tell() != HANGS_AT:
            return
    try:
        pathlib.Path("begun").touch()
        await asyncio.Event().wait()
    finally:
        pathlib.Path("ended").touch()
"""

SOAK = ("soak", "--seed=1", "--delays=3", "--workers=0")
REPEAT = ("repeat", "lightweight", "--seed=1", "--times=0", "--alone=0")


def command(planted: Planted, *arguments: str) -> list[str]:
    planted.file(
        "pytest.ini",
        "[pytest]\nasyncio_mode = auto\naddopts = -p test_framework.plugin -p no:anyio\n"
        "asyncio_default_fixture_loop_scope = session\nasyncio_default_test_loop_scope = session\n",
    )
    return [sys.executable, "-m", "test_framework.proving.soak", *arguments]


def prove(planted: Planted, *arguments: str) -> subprocess.CompletedProcess[str]:
    words, environment = command(planted, *arguments), planted.environment()
    return subprocess.run(
        words, cwd=planted.root, env=environment, capture_output=True, text=True, timeout=80, check=False
    )


def test_a_test_that_relies_on_who_is_sooner_flips_under_delays_and_its_run_is_named(planted: Planted) -> None:
    planted.file("tests/unit/test_it.py", LUCKY)

    done = prove(planted, *SOAK, "--runs=6", "tests/unit")

    assert done.returncode == 1, done.stdout + done.stderr
    assert "flipped: tests/unit/test_it.py::test_lucky" in done.stdout
    assert "again: pytest --mode=lightweight --randomly-seed=" in done.stdout
    assert "test_steady" not in done.stdout.rpartition("6 runs")[2]


def test_its_harmless_twin_stays_green(planted: Planted) -> None:
    planted.file(
        "tests/unit/test_it.py",
        LUCKY.replace("assert first == [1, 2] * 3", "assert sorted(first) == [1, 1, 1, 2, 2, 2]"),
    )

    done = prove(planted, *SOAK, "--runs=2", "tests/unit")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 runs, 2 tests each, 0 red, 0 tests flipped" in done.stdout


def lent(planted: Planted) -> None:
    """A file whose test is green wherever another file was collected too: it needs what that one does at import."""
    planted.file("tests/unit/lent.py", "WORDS = []\n")
    planted.file("tests/unit/test_lender.py", "import lent\nlent.WORDS.append(1)\n\ndef test_it(): pass\n")
    planted.file("tests/unit/test_borrower.py", "import lent\n\ndef test_it(): assert lent.WORDS\n")


def test_a_file_that_leans_on_another_is_red_by_itself_and_named(planted: Planted) -> None:
    lent(planted)

    done = prove(planted, *REPEAT, "tests/unit")

    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 runs, 2 tests each, 2 files and 0 tests alone, 1 red, 0 tests flipped" in done.stdout
    account = done.stdout.rpartition("2 runs")[2]
    assert "red alone: tests/unit/test_borrower.py, pytest ended with 1" in account
    assert "-n0 tests/unit/test_borrower.py" in account
    assert "test_lender" not in account


def test_only_running_it_by_itself_shows_that(planted: Planted) -> None:
    lent(planted)

    done = prove(planted, *REPEAT, "--no-files", "tests/unit")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 runs, 2 tests each, 0 red, 0 tests flipped" in done.stdout


def test_its_twin_that_brings_what_it_needs_stays_green(planted: Planted) -> None:
    lent(planted)
    planted.file("tests/unit/test_borrower.py", "import lent, test_lender\n\ndef test_it(): assert lent.WORDS\n")

    done = prove(planted, *REPEAT, "tests/unit")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 runs, 2 tests each, 2 files and 0 tests alone, 0 red, 0 tests flipped" in done.stdout


def test_a_run_whose_time_is_up_ends_in_good_order_and_says_where_it_was(planted: Planted) -> None:
    planted.file("tests/unit/test_it.py", f"HANGS_AT = 1\n{HANGS}")

    done = prove(planted, *SOAK, "--runs=2", "--seconds=20", "tests/unit")

    assert done.returncode == 1, done.stdout + done.stderr
    assert "2/2: green, 2 tests" in done.stdout, "the runs after it are made all the same"
    account = done.stdout.rpartition("2 runs, 2 tests each, 1 red")[2]
    assert "s, while it ran tests/unit/test_it.py::test_that_hangs_once, random order" in account
    assert "not in every run" not in account
    assert (planted.root / "ended").exists()
    assert done.stderr == ""


@pytest.mark.needs("posix")
def test_an_interrupted_proof_says_how_far_it_came_and_leaves_no_run_behind(planted: Planted) -> None:
    planted.file("tests/unit/test_it.py", f"HANGS_AT = 2\n{HANGS}")

    with subprocess.Popen(
        command(planted, *SOAK, "--runs=3", "tests/unit"),
        cwd=planted.root,
        env=planted.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hearing(),  # noqa: PLW1509 (all it does is set signals)
    ) as process:
        try:
            assert process.stdout is not None
            assert "1/3: green" in process.stdout.readline()
            comes_true((planted.root / "begun").exists, "the run that hangs", 30)
            process.send_signal(signal.SIGINT)
            said, complained = process.communicate(timeout=40)
        finally:
            process.kill()

    assert process.returncode == 130, said + complained
    assert said.startswith("interrupted; of what came to its end before:\n1 runs, 2 tests each, 0 red, 0 tests flipped")
    assert (planted.root / "ended").exists()
    assert complained == ""
