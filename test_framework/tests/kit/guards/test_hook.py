"""The pre-commit hook, run by pre-commit on a real git repository: it is given the files that are committed, and reads them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from test_framework import CHECKOUT

pytestmark = pytest.mark.needs("git")
SECONDS = 60
Commit = Callable[[dict[str, str | bytes]], "subprocess.CompletedProcess[str]"]

REFUSED: dict[str, tuple[str, str | bytes, str]] = {
    "a merge marker": ("app/a.py", "x = 1\n<<<<<<< HEAD\n", "app/a.py:2: holds a merge marker"),
    "a byte order mark": ("app/a.py", b"\xef\xbb\xbfx = 1\n", "begins with a byte order mark"),
    "a null byte": ("app/a.py", b"x = '\0'\n", "holds a null byte"),
    "mojibake": ("app/a.py", "# it\u00e2\u20ac\u2122s\n", "mojibake"),
    "a loop at import": ("app/a.py", "import asyncio\nx = asyncio.run(f())\n", "app/a.py:2: asyncio.run() at import"),
    "a fixture without a loop": (
        "tests/unit/conftest.py",
        'import pytest\n\n\n@pytest.fixture(scope="session")\nasync def a(): ...\n',
        "tests/unit/conftest.py:4: async fixture a outlives a test",
    ),
    "a raw docker call": (
        "tests/unit/test_a.py",
        "import subprocess\nsubprocess.run(['docker', 'pause', 'redis'])\n",
        "tests/unit/test_a.py:2: runs docker past the lifecycle",
    ),
}


@pytest.fixture
def commit(tmp_path: Path) -> Commit:
    """A repository that has our hook, as our own configuration has it, and an innocent first commit."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        identity = ("-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "core.autocrlf=false")
        return subprocess.run(
            ["git", *identity, *arguments],
            cwd=tmp_path,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def stage_and_commit(files: dict[str, str | bytes]) -> subprocess.CompletedProcess[str]:
        for name, content in files.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        git("add", *files)
        return git("commit", "-m", "planted")

    git("init", "-q")
    allowed = '[project]\nrequires-python = ">=3.11"\n'
    innocent = "innocent of what older files hold\n"
    stage_and_commit({"pyproject.toml": allowed, "app/old.py": "<<<<<<< HEAD\n", "README.md": innocent})
    (tmp_path / ".pre-commit-config.yaml").write_text(yaml.safe_dump(_our_hook()), encoding="utf-8")
    git("add", ".pre-commit-config.yaml")
    installed = subprocess.run(
        [sys.executable, "-m", "pre_commit", "install"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert installed.returncode == 0, installed.stderr
    return stage_and_commit


def _our_hook() -> dict[str, object]:
    """The hook of our configuration; only its environment is this one, so that nothing is installed."""
    ours = yaml.safe_load((CHECKOUT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (hook,) = [hook for repository in ours["repos"] for hook in repository["hooks"] if hook["id"] == "guards"]
    entry = hook["entry"].replace("python", sys.executable, 1)
    kept = {name: value for name, value in hook.items() if name != "additional_dependencies"}
    return {"repos": [{"repo": "local", "hooks": [{**kept, "language": "unsupported", "entry": entry}]}]}


def _environment() -> dict[str, str]:
    import os

    return {**{k: v for k, v in os.environ.items() if not k.startswith("GIT_")}, "PYTHONPATH": str(CHECKOUT)}


@pytest.mark.parametrize("name", REFUSED)
def test_a_commit_with_a_planted_fault_is_refused_with_its_line(commit: Commit, name: str) -> None:
    path, content, words = REFUSED[name]

    done = commit({path: content, "app/fine.py": "x = 1\n"})

    assert done.returncode != 0
    assert words in done.stdout + done.stderr


def test_a_clean_commit_passes_whatever_older_files_hold(commit: Commit) -> None:
    done = commit({"app/fine.py": 'x = f"{1}"\n', "tests/unit/test_a.py": "def test_a() -> None: ...\n"})

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Passed" in done.stdout + done.stderr
