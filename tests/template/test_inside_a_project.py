"""A new project passes its own checks, in its own environments, before anybody has changed a line."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from urllib.request import urlopen

import pytest

from cos_scaffold.answers import CHOICES
from cos_scaffold.live_files import live_files
from tests.template.workbench import ROOT, Workbench, program

MINUTES = 60
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
GIVEN = {"lightweight": ("--", "--reruns", "2")}  # this machine is busy with other bakes


@pytest.fixture(scope="module")
def own(workbench: Workbench) -> Path:
    """A project stamped from this very repository, nothing planted, and not yet under git: as people find it."""
    return workbench.cookiecutter(str(ROOT), into=workbench.folder / "own")


@pytest.mark.timeout(10 * MINUTES)
@pytest.mark.parametrize("session", ["lint", "types", "lightweight"])
def test_a_new_project_passes_its_own_session(session: str, own: Path, workbench: Workbench) -> None:
    before = live_files(own)

    workbench.succeed("nox", "-s", session, *GIVEN.get(session, ()), cwd=own, seconds=9 * MINUTES)

    assert live_files(own) == before


@pytest.mark.parametrize("command", [("check", "--output-format=concise"), ("format", "--check")])
def test_a_newer_lowest_python_brings_no_fault_of_style(
    command: tuple[str, str], own: Path, workbench: Workbench
) -> None:
    lowest, *newer = ("py" + python.replace(".", "") for python in CHOICES["lowest_python"])

    found = {python: workbench.run("ruff", *command, "--target-version", python, cwd=own) for python in newer}

    assert found == dict.fromkeys(newer, workbench.run("ruff", *command, "--target-version", lowest, cwd=own))


@pytest.mark.timeout(5 * MINUTES)
def test_the_first_command_of_the_readme_runs_the_service(own: Path, workbench: Workbench, tmp_path: Path) -> None:
    before = live_files(own)
    environment = {**workbench.environment(), "APP_PORT": "0"}
    log = tmp_path / "dev.log"

    with log.open("wb") as said:
        command = (program("nox"), "-s", "dev")
        dev = subprocess.Popen(command, cwd=own, env=environment, stdout=said, stderr=said)
    try:
        answer = first_answer("/health/ready", dev, log, seconds=4 * MINUTES)
    finally:
        dev.terminate()
        code = dev.wait(timeout=30)

    assert answer == HTTPStatus.OK
    assert code in {0, -signal.SIGTERM}, log.read_text()
    assert live_files(own) == before


def first_answer(path: str, server: subprocess.Popen[bytes], log: Path, *, seconds: float) -> int:
    """Ask where it says that it listens, until it answers, dies, or the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        if said := ADDRESS.search(log.read_text()):
            with suppress(OSError), urlopen(f"{said.group()}{path}", timeout=5) as response:
                status: int = response.status
                return status
        time.sleep(0.1)
    how = "still runs" if server.poll() is None else f"ended with {server.returncode}"
    pytest.fail(f"{path} was not answered within {seconds} s; the server {how} and said:\n{log.read_text()}")
