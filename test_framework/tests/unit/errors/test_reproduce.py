"""The printed line is run as it stands, by a shell, and makes the same failure again."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from test_framework.errors.failure import Circumstances, Failure
from test_framework.errors.reproduce import command
from test_framework.tests.unit.errors.conftest import Run

NASTY = r"""it's [odd] "quoted" $HOME `x` \n ümlaut; echo"""


@pytest.mark.timeout(90)
def test_the_printed_line_makes_the_same_failure_again(
    fail: Run, project: Path, clean_environment: dict[str, str]
) -> None:
    red = fail(
        f"""
        import random, pytest

        @pytest.mark.parametrize("name", [{NASTY!r}])
        def test_chance(name):
            assert random.random() > 1

        def test_fine():
            pass
        """,
        "-n",
        "2",
    )
    line = printed(red.stdout)
    again = subprocess.run(
        line, shell=True, cwd=project, env=clean_environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert "-n 2" in line
    assert "--mode=lightweight" in line
    assert number(again.stdout) == number(red.stdout)
    assert "1 failed in" in again.stdout, again.stdout
    assert printed(again.stdout) == line


def test_an_option_that_changes_a_test_is_part_of_the_line(fail: Run) -> None:
    red = fail("def test_one(): assert 0", "-p", "no:randomly", "--timeout=7", "-o", "xfail_strict=false", "-k", "one")

    assert "-p no:randomly --timeout=7 -o xfail_strict=false -n 0" in printed(red.stdout)
    assert "-k" not in printed(red.stdout)


def test_a_line_names_where_services_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOX_CURRENT_SESSION", raising=False)
    failure = Failure(
        "tests/integration/test_a.py::test_b", "call", circumstances=Circumstances("integration", "bundled", 7, 0)
    )

    assert command(failure).startswith("SERVICES=bundled ")
    assert command(failure).endswith("--mode=integration -n 0 --randomly-seed=7 tests/integration/test_a.py::test_b")


def test_inside_nox_the_line_is_nox_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOX_CURRENT_SESSION", "tests")
    failure = Failure("tests/unit/test_a.py::test_b", "call", circumstances=Circumstances("lightweight", "", 7, 3))

    assert command(failure) == "nox -s lightweight -- -n 3 --randomly-seed=7 tests/unit/test_a.py::test_b"


def printed(output: str) -> str:
    """The line under a failure, which is also the one in the summary."""
    return str(re.findall(r"-+ reproduce -+\n(.+)", output)[0])


def number(output: str) -> str:
    return str(re.findall(r"assert (0\.\d+) > 1", output)[0])
