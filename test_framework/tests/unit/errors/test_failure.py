"""What is kept of a failure goes through JSON unchanged, and a diagnosis does too."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from test_framework import CHECKOUT
from test_framework.error_reporter import ErrorReporter
from test_framework.errors.chain import links
from test_framework.errors.diagnosis import RunDiagnosis
from test_framework.errors.failure import Circumstances, Failure, Frame, Link, ServiceState
from test_framework.errors.frames import Places

LARGEST = 16_000

FAILURE = Failure(
    test="tests/unit/test_a.py::test_a",
    phase="setup",
    chain=(Link(("KeyError", "LookupError"), "'x'", facts={"errno": 3}, frames=(Frame("app/a.py", 3, "f", "app"),)),),
    services=(ServiceState("redis", "paused"),),
    circumstances=Circumstances("integration", "bundled", 7, 2, ("-p", "no:x")),
    ended=1.5,
)


def test_a_failure_and_its_diagnosis_survive_json() -> None:
    kept = Failure.from_json(json.loads(json.dumps(FAILURE.to_json())))
    diagnosis = ErrorReporter().explain([kept])

    assert kept == FAILURE
    assert RunDiagnosis.from_json(json.loads(json.dumps(diagnosis.to_json()))) == diagnosis


def test_no_failures_have_no_cause() -> None:
    assert ErrorReporter().explain([]) == RunDiagnosis()


def test_what_is_kept_is_small_and_holds_no_secret(tmp_path: Path) -> None:
    error: Exception = ValueError("x" * 1_000_000)
    for number in range(50):
        outer = RuntimeError(
            f"{number}: postgresql://app:hunter2222@db/x, API_KEY='abcd-1234-efgh', at {tmp_path}/file"
        )
        outer.__cause__ = error
        error = outer

    kept = json.dumps(Failure("test", "call", links(error, Places(tmp_path))).to_json())

    assert len(kept) < LARGEST
    assert "hunter2222" not in kept
    assert "abcd-1234" not in kept
    assert str(tmp_path) not in kept
    assert "postgresql://app:***@db/x" in kept


def test_what_is_kept_names_no_folder_of_the_virtual_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.prefix", "/srv/tools/venv")
    error = RuntimeError('File "/srv/tools/venv/lib/python3.12/site-packages/starlette/datastructures.py", line 696')

    (link,) = links(error, Places(tmp_path))

    assert link.message == 'File "<env>/lib/python3.12/site-packages/starlette/datastructures.py", line 696'


def test_an_exception_that_can_t_be_looked_at_is_looked_at(tmp_path: Path) -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise ValueError

        @property
        def code(self) -> int:
            raise KeyError

    (link,) = links(Broken(), Places(tmp_path))

    assert link.message == "(its text raises ValueError)"


async def test_the_guards_look_for_a_loop_is_no_part_of_a_failure() -> None:
    def fail() -> None:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.execute("SELECT * FROM nosuch")

    with pytest.raises(sqlite3.OperationalError) as raised:
        await asyncio.to_thread(fail)

    assert [link.type for link in links(raised.value, Places(CHECKOUT))] == ["sqlite3.OperationalError"]
