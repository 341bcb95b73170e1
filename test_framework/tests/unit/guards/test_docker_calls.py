"""Docker is spoken to in one room; talking about it is free."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from test_framework import CHECKOUT
from test_framework.guards import docker_calls
from test_framework.guards.source import Source

Plant = Callable[[str, str], Source]

CALLS = {
    "a list": "import subprocess\nsubprocess.run(['docker', 'ps'])",
    "a tuple": "import subprocess\nsubprocess.check_output(('docker', name))",
    "a starred list": "import subprocess\nsubprocess.Popen(['docker', *arguments])",
    "a shell": "import os\nos.system('docker compose up -d')",
    "a formatted shell": "from subprocess import run\nrun(f'docker rm -f {name}', shell=True)",
    "asyncio": "import asyncio\nasync def f():\n    await asyncio.create_subprocess_exec('docker', 'ps')",
    "nox": "def up(session):\n    session.run('docker', 'compose', 'up', external=True)",
    "invoke": "def up(context):\n    context.run('docker-compose up')",
    "exec": "import os\nos.execvp('docker', arguments)",
    "podman": "import subprocess\nsubprocess.run(['podman', 'ps'])",
    "spelled out for later": "COMMAND = ['docker', 'pause', 'redis']",
    "an option first": "COMMAND = ('docker', '--context', 'x')",
}

HARMLESS = {
    "the word": "hint = 'docker is not needed'",
    "a choice among others": "PROVIDERS = ['docker', 'native', 'bundled']",
    "a question whether it is there": "import shutil\nshutil.which('docker')",
    "a message": "print('docker ps shows what runs')",
    "a path": "path = Path('docker') / 'compose.yml'",
    "another program": "import subprocess\nsubprocess.run(['dockerize', 'ps'])",
    "our own lifecycle": "from test_framework.services import lifecycle\nlifecycle.ensure('redis')",
    "a stated purpose": "import os\nos.system('docker ps')  # on purpose: the proof must not trust our own code",
}


@pytest.mark.parametrize("code", CALLS.values(), ids=CALLS)
def test_a_docker_command_outside_its_room_is_refused(plant: Plant, code: str) -> None:
    findings = docker_calls.check([plant("tests/integration/test_it.py", code + "\n")])

    assert len(findings) == 1
    assert "test_framework.services" in findings[0].message


@pytest.mark.parametrize("code", HARMLESS.values(), ids=HARMLESS)
def test_talking_about_docker_is_free(plant: Plant, code: str) -> None:
    assert docker_calls.check([plant("tests/integration/test_it.py", code + "\n")]) == []


def test_its_own_room_may_call_it(plant: Plant) -> None:
    paths = ("test_framework/services/compose.py", "test_framework/services_of_mine.py", "noxfile.py")

    concerned = [path for path in paths if docker_calls.concerns(plant(path, "").pure_path)]

    assert concerned == ["test_framework/services_of_mine.py", "noxfile.py"]


def test_every_exempt_folder_of_the_kit_exists() -> None:
    ours = [place for place in docker_calls.MAY_CALL if place.startswith("test_framework/")]

    assert ours
    assert [place for place in ours if not (CHECKOUT / place).is_dir()] == []
