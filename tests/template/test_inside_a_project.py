"""A new project passes its own checks, in its own environments, before anybody has changed a line."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from http import HTTPStatus
from pathlib import Path
from urllib.request import urlopen

import pytest

from cos_scaffold.answers import CHOICES
from tests.template.workbench import ANSWERS, ROOT, Workbench, program

MINUTES = 60


@pytest.fixture(scope="module")
def own(workbench: Workbench) -> Path:
    """A project stamped from this very repository, nothing planted, under git as its user would have it."""
    made = workbench.cookiecutter(str(ROOT), into=workbench.folder / "own")
    workbench.succeed("git", "init", "--quiet", cwd=made)
    workbench.commit(made, "a new project")
    return made


@pytest.mark.timeout(10 * MINUTES)
@pytest.mark.parametrize("session", ["lint", "types", "lightweight"])
def test_a_new_project_passes_its_own_session(session: str, own: Path, workbench: Workbench) -> None:
    workbench.succeed("nox", "-s", session, cwd=own, seconds=9 * MINUTES)

    assert workbench.succeed("git", "status", "--porcelain", cwd=own) == ""


@pytest.mark.parametrize("python", CHOICES["lowest_python"])
def test_a_newer_lowest_python_brings_no_fault_of_style(
    python: str, own: Path, workbench: Workbench, tmp_path: Path
) -> None:
    made = workbench.typed({"lowest_python": python}, template=ROOT, into=tmp_path / "made")
    assert made.code == 0, made.said
    newer = tmp_path / "made" / ANSWERS["project_slug"]

    for command in (("check", "--output-format=concise"), ("format", "--check")):
        assert workbench.run("ruff", *command, cwd=newer) == workbench.run("ruff", *command, cwd=own)


@pytest.mark.timeout(5 * MINUTES)
def test_the_first_command_of_the_readme_runs_the_service(own: Path, workbench: Workbench, tmp_path: Path) -> None:
    port = free_port()
    environment = {**workbench.environment(), "APP_PORT": str(port)}
    log = tmp_path / "dev.log"

    with log.open("wb") as said:
        command = (program("nox"), "-s", "dev")
        dev = subprocess.Popen(command, cwd=own, env=environment, stdout=said, stderr=said)
    try:
        answer = first_answer(f"http://127.0.0.1:{port}/health/ready", dev, log, seconds=4 * MINUTES)
    finally:
        dev.terminate()
        code = dev.wait(timeout=30)

    assert answer == HTTPStatus.OK
    assert code in {0, -signal.SIGTERM}, log.read_text()
    assert workbench.succeed("git", "status", "--porcelain", cwd=own) == ""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def first_answer(url: str, server: subprocess.Popen[bytes], log: Path, *, seconds: float) -> int:
    """Ask until the server answers, dies, or the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urlopen(url, timeout=5) as response:
                status: int = response.status
                return status
        except OSError:
            time.sleep(0.1)
    how = "still runs" if server.poll() is None else f"ended with {server.returncode}"
    pytest.fail(f"{url} did not answer within {seconds} s; the server {how} and said:\n{log.read_text()}")
