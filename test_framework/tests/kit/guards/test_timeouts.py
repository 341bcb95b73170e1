"""A test whose time is up ends, whoever is at work in its loop just then."""

from __future__ import annotations

import pytest

from test_framework.running.planted import Ended
from test_framework.running.watched_run import CLEAN_UP_SECONDS
from test_framework.tests.kit.guards.planted import run_planted

SERVICE = """
import asyncio, time

def work():
    end = time.monotonic() + 0.05
    while time.monotonic() < end:
        pass

async def keeps_busy():
    while True:
        work()
        await asyncio.sleep(0)

def keeps_coming(loop, asked_to_stop):
    work()
    if not asked_to_stop:
        loop.call_soon(keeps_coming, loop, asked_to_stop)

async def never_awaits():
    while True:
        pass
"""

TESTS = """
import asyncio, time
import pytest
import pytest_asyncio
from app.service import keeps_busy, keeps_coming, never_awaits

waits = asyncio.Event

@pytest_asyncio.fixture
async def hangs_in_its_clean_up():
    yield
    await waits().wait()

@pytest.mark.timeout(0.5)
async def test_rest():
    await waits().wait()

async def test_next_to_rest():
    assert len(asyncio.all_tasks()) == 1

@pytest.mark.timeout(0.5)
async def test_task():
    task = asyncio.create_task(keeps_busy())
    await waits().wait()

async def test_next_to_task():
    assert len(asyncio.all_tasks()) == 1

@pytest.mark.timeout(0.5)
async def test_stuck():
    task = asyncio.create_task(never_awaits())
    await waits().wait()

async def test_next_to_stuck():
    assert len(asyncio.all_tasks()) == 1

@pytest.mark.timeout(0.5)
async def test_callback():
    loop, asked_to_stop = asyncio.get_running_loop(), []
    loop.call_soon(keeps_coming, loop, asked_to_stop)
    try:
        await waits().wait()
    finally:
        asked_to_stop.append(True)

async def test_next_to_callback():
    assert len(asyncio.all_tasks()) == 1

@pytest.mark.timeout(0.5)
def test_swallows():
    try:
        time.sleep(100)
    except BaseException:
        time.sleep(100)

@pytest.mark.timeout(0.5)
def test_expects():
    with pytest.raises(SystemExit):
        time.sleep(2)

@pytest.mark.timeout(0.5)
async def test_clean_up(hangs_in_its_clean_up):
    assert 1 == 2

@pytest.mark.timeout(5)
async def test_in_time():
    task = asyncio.create_task(keeps_busy())
    await asyncio.sleep(0.2)
    task.cancel()
"""
IN_A_LOOP = ("rest", "task", "stuck", "callback")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    files = {"app/__init__.py": "", "app/service.py": SERVICE, "tests/unit/test_planted.py": TESTS}
    return run_planted(tmp_path_factory.mktemp("timeouts"), files)


@pytest.mark.parametrize("who", [*IN_A_LOOP, "swallows", "expects"])
def test_a_test_whose_time_is_up_fails_for_that_and_for_nothing_else(run: Ended, who: str) -> None:
    assert "Timeout (>0.5s)" in run.of(f"test_{who}").words, run.output
    assert list(run.of(f"test_{who}").failed) == ["call"]


@pytest.mark.parametrize("who", IN_A_LOOP)
def test_the_next_test_meets_nothing_of_it(run: Ended, who: str) -> None:
    assert run.of(f"test_next_to_{who}").failed == {}, run.output


def test_the_clean_up_of_what_failed_has_its_time_as_well(run: Ended) -> None:
    outcome = run.of("test_clean_up")

    assert "assert 1 == 2" in outcome.failed["call"]
    assert f"Timeout (>{CLEAN_UP_SECONDS}s)" in outcome.failed["teardown"]


def test_a_busy_test_that_ends_in_time_is_left_alone(run: Ended) -> None:
    assert run.of("test_in_time").failed == {}, run.output


def test_where_it_was_at_work_is_shown(run: Ended) -> None:
    assert "app/service.py" in run.of("test_stuck").words, run.output
