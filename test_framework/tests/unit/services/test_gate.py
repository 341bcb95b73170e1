"""A run's gate waits for those who make something of the run, and lets nobody in once it is shut."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from test_framework.services.gate import held, inside, open_gate, shut_gate
from test_framework.services.state import RunEndedError
from test_framework.waiting import comes_true

pytestmark = pytest.mark.needs("posix")
LONG, SHORT = 10.0, 0.05


@pytest.fixture
def run(tmp_path: Path) -> Path:
    open_gate(tmp_path)
    return tmp_path


def test_an_empty_run_is_shut_at_once(run: Path) -> None:
    assert shut_gate(run, SHORT)
    assert shut_gate(run, SHORT), "and stays shut"


def test_what_never_had_a_gate_has_nobody_inside(tmp_path: Path) -> None:
    assert shut_gate(tmp_path, SHORT)


def test_whoever_comes_later_is_refused_and_told_why(run: Path) -> None:
    shut_gate(run, SHORT)

    with pytest.raises(RunEndedError, match=f"the run {run.name} has ended"), inside(run):
        pytest.fail("let in")


def test_several_make_things_at_once(run: Path) -> None:
    with inside(run), inside(run):
        assert len(held()) == 2
    assert held() == ()


def test_those_inside_are_waited_for(run: Path) -> None:
    ended: list[bool] = []
    with inside(run):
        ender = threading.Thread(target=lambda: ended.append(shut_gate(run, LONG)))
        ender.start()
        comes_true(lambda: not (run / "gate").exists(), "a shut gate", LONG)
        assert ended == []
    ender.join(LONG)
    assert ended == [True]


def test_those_who_do_not_leave_in_time_are_told_of(run: Path) -> None:
    with inside(run):
        assert not shut_gate(run, SHORT)
        assert not shut_gate(run, SHORT), "the next who ends it waits for them too"
    assert shut_gate(run, SHORT)


def test_a_child_that_inherits_is_waited_for_when_its_parent_has_gone(run: Path) -> None:
    with inside(run):
        child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, pass_fds=held())
    assert not shut_gate(run, SHORT)

    child.communicate()

    assert shut_gate(run, SHORT)


def test_a_child_that_does_not_inherit_keeps_nobody_waiting(run: Path) -> None:
    with inside(run):
        child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert shut_gate(run, SHORT)
    finally:
        child.communicate()
