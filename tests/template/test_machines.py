"""The commands of the README, here and in a stamped project, run to their end on machines of many kinds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.template import machines
from tests.template.workbench import ROOT, Reruns, Workbench

MINUTES = 60
MODES = ("lightweight", "integration", "full")
RAN = re.compile(r"^tests +\d+ = (\d+) passed", re.MULTILINE)
LEFT_OUT = re.compile(r"^not run in (\w+): (\d+) tests? needs? (.+?): (.+)$", re.MULTILINE)

# What may be left out for want of something, on every machine of its kind.
WITHOUT_A_BROWSER = {"a browser", "a clock that can be set", "curl"}
WITHOUT_AN_ENGINE = {"a container engine with this project's images"}
UNPRIVILEGED = {"a disk that can be filled", "root", "the right to mount a disk"}
ALWAYS = {"a real model", "a real Postgres", "a real Redis", "the service as processes of its own"}
"""These are shown by another mode, or are this project's own to configure."""
BARE = ALWAYS | WITHOUT_A_BROWSER | WITHOUT_AN_ENGINE | UNPRIVILEGED
EXPECTED = {
    "new-clone": BARE | {"npm", "many open files"},
    "bare-user": BARE | {"npm", "git", "many open files"},
    "read-only-home": BARE | {"npm"},
    "root-umask": BARE - UNPRIVILEGED | {"npm", "git"},
}
IN_A_CONTAINER = BARE | {"npm", "git", "IPv6"}

HARDEST = "bare-user"
ON_REQUEST = [name for name in machines.MACHINES if name not in {HARDEST, "new-clone"}]
"""`.ci/run` begins with new-clone; the weekly workflow runs these as well."""


@pytest.fixture(scope="session")
def stamped(workbench: Workbench) -> Path:
    """A project stamped from this very repository."""
    return workbench.cookiecutter(str(ROOT), into=workbench.folder / "for machines")


def run(machine: str, project: Path, *sessions: str, options: Sequence[str] = ()) -> str:
    """Run README commands on a machine in a separate process; they must succeed."""
    sudo = ["sudo", "-n", "--preserve-env"]
    can = os.geteuid() != 0 and shutil.which("sudo") and subprocess.run([*sudo, "true"], check=False).returncode == 0
    program = [
        *(sudo if can else []),
        sys.executable,
        machines.__file__,
        machine,
        *sessions,
        f"--project={project}",
        f"--options={' '.join(options)}",
    ]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8") as running:
        try:
            output, _ = running.communicate(timeout=machines.TESTS_TIMEOUT + 5 * MINUTES)
        except BaseException:
            running.terminate()  # it ends what it has started
            raise
    assert running.returncode == 0, output[-20_000:]
    return output


def counted(output: str) -> tuple[list[int], Counter[str]]:
    """How many tests passed in each mode, and how many were left out for want of what."""
    left_out: Counter[str] = Counter()
    for _, count, what, _ in LEFT_OUT.findall(output):
        left_out[what] += int(count)
    return [int(count) for count in RAN.findall(output)], left_out


def holds(machine: str, project: Path, reruns: Reruns) -> None:
    output = run(machine, project, "dev", "invoke", "tests", options=reruns.options)

    reruns.show(output)
    passed, left_out = counted(output)
    print(f"{machine}: {dict(zip(MODES, passed, strict=False))} passed; left out: {dict(left_out)}")
    assert "services" in output.partition("Available tasks")[2]
    assert "Ctrl-C ended it with 0, and left no process" in output
    assert len(passed) == len(MODES)
    assert all(passed)
    assert re.findall(r"^(\w+) +green", output, re.MULTILINE) == list(MODES)
    assert set(left_out) <= EXPECTED.get(machine, IN_A_CONTAINER)


@pytest.mark.timeout(40 * MINUTES)
@pytest.mark.needs("linux")
def test_the_readme_commands_work_on_the_hardest_machine(stamped: Path, reruns: Reruns) -> None:
    holds(HARDEST, stamped, reruns)


@pytest.mark.timeout(40 * MINUTES)
@pytest.mark.needs("every_machine")
@pytest.mark.parametrize("machine", [HARDEST, "new-clone"])
def test_the_readme_commands_work_here(machine: str, reruns: Reruns) -> None:
    holds(machine, ROOT, reruns)


@pytest.mark.timeout(40 * MINUTES)
@pytest.mark.needs("every_machine")
@pytest.mark.parametrize("machine", ON_REQUEST)
@pytest.mark.parametrize("project", ["here", "stamped"])
def test_the_readme_commands_work_on_every_machine(machine: str, project: str, stamped: Path, reruns: Reruns) -> None:
    holds(machine, stamped if project == "stamped" else ROOT, reruns)


@pytest.mark.parametrize("project", ["here", "stamped"])
def test_the_readme_shows_the_two_commands(project: str, stamped: Path) -> None:
    readme = (stamped if project == "stamped" else ROOT) / "README.md"

    shown = machines.commands(readme)

    assert shown == {
        "dev": ". ./activate && nox -s dev",
        "tests": ". ./activate && nox -s tests",
    }
