"""`.ci/run` with stand-ins for what it calls: its order, its verdict, and what it says of tests that were run twice."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.template.machines import COREUTILS
from tests.template.workbench import ROOT, Reruns

pytestmark = pytest.mark.needs("linux")


@dataclass(frozen=True)
class Script:
    """A copy of `.ci/run` in a folder where Python and nox do what a test says."""

    root: Path
    path: Path

    def stand_in(self, program: str, script: str) -> None:
        (self.path / program).write_text(f'#!/bin/sh\necho "{program} $*" >>{self.root}/calls\n{script}\n')
        (self.path / program).chmod(0o755)

    def run(self) -> tuple[int, str]:
        command = [str(shutil.which("bash")), ".ci/run"]
        done = subprocess.run(
            command,
            cwd=self.root,
            env={"PATH": str(self.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout

    @property
    def calls(self) -> list[str]:
        return (self.root / "calls").read_text().splitlines()


@pytest.fixture
def script(tmp_path: Path) -> Script:
    made = Script(tmp_path / "checkout", tmp_path / "bin")
    (made.root / ".ci").mkdir(parents=True)
    made.path.mkdir()
    shutil.copy(ROOT / ".ci/run", made.root / ".ci/run")
    (made.root / "activate").write_text(f"echo activate >>{made.root}/calls\n")
    for name in (*COREUTILS.split(), "bash", "sed"):
        if found := shutil.which(name):
            (made.path / name).symlink_to(found)
    made.stand_in("python3", "")
    made.stand_in("nox", "")
    return made


def test_the_readme_command_runs_before_anything_is_installed(script: Script) -> None:
    code, output = script.run()

    assert code == 0, output
    assert script.calls[0] == "python3 tests/template/machines.py new-clone tests --options=--reruns 1 -rR"
    assert script.calls[1] == "activate"
    assert [call.split()[2] for call in script.calls[2:]] == ["kit", "lint", "template"]


@pytest.mark.parametrize("failing", ["kit", "lint", "template"])
def test_a_session_that_fails_ends_the_run(failing: str, script: Script) -> None:
    script.stand_in("nox", f"case $2 in {failing}) exit 3 ;; esac")

    code, _ = script.run()

    assert code == 3
    assert script.calls[-1].startswith(f"nox -s {failing}")


def test_a_readme_command_that_fails_ends_the_run(script: Script) -> None:
    script.stand_in("python3", "exit 4")

    assert script.run()[0] == 4
    assert len(script.calls) == 1


@pytest.mark.parametrize(("tests", "expected"), [(5, 0), (6, 1)])
def test_more_than_five_tests_that_ran_twice_fail_the_run(tests: int, expected: int, script: Script) -> None:
    script.stand_in("python3", "echo RERUN tests/a.py::test_0")
    reruns = "\n".join(f"echo RERUN tests/b.py::test_{index}" for index in range(1, tests))
    script.stand_in("nox", f'[ "$2" = kit ] || exit 0\n{reruns}')

    code, output = script.run()

    assert code == expected, output
    closing = output.partition("##### done")[2]
    assert f"{tests} tests passed only at their second run" in closing
    assert "README: tests/a.py::test_0" in closing
    assert f"kit: tests/b.py::test_{tests - 1}" in closing


def test_what_a_run_inside_a_test_repeated_is_printed_like_the_rest() -> None:
    printed: list[str] = []

    Reruns([], printed.append).show("RERUN tests/a.py::test_one\nno RERUN\nRERUN tests/b.py::test_two[x y]\n")

    assert printed == ["RERUN tests/a.py::test_one", "RERUN tests/b.py::test_two[x y]"]
