"""A bench to stamp projects on: the real commands, run as people run them, in an environment where nothing of this
machine matters: no git configuration, no home folder, no earlier answers.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

ORIGINS = (".copier-answers.yml", ".cruft.json")
ANSWERS = {
    "project_name": "Order Desk",
    "project_slug": "order-desk",
    "description": "Takes orders, and says where they are",
    "author": "Zoë Müller-Østergård",
    "license": "MIT",
    "lowest_python": "3.11",
    "ci_provider": "github",
    "example": "agents",
}


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and everything it said."""

    code: int
    said: str


@dataclass(frozen=True)
class Workbench:
    """A folder with a home, a git identity and a configuration of cookiecutter of its own."""

    folder: Path

    @classmethod
    def furnished(cls, folder: Path) -> Workbench:
        home = folder / "home"
        home.mkdir(parents=True)
        (home / "gitconfig").write_text(
            "[user]\n\tname = Ada Lovelace\n\temail = ada@example.invalid\n[init]\n\tdefaultBranch = main\n"
            f'[url "file://{folder}/"]\n\tinsteadOf = https://github.com/\n'  # what copier makes of gh:
        )
        (home / "cookiecutter.json").write_text(
            json.dumps(
                {
                    "cookiecutters_dir": str(home / "clones"),
                    "replay_dir": str(home / "replay"),
                    "abbreviations": {"gh": f"file://{folder}/{{0}}.git"},
                }
            )
        )
        return cls(folder)

    def run(self, *command: str, cwd: Path | None = None, seconds: float = 60, stdin: str = "") -> Outcome:
        """Run a command to its end."""
        ended = subprocess.run(
            [program(command[0]), *command[1:]],
            cwd=cwd or self.folder,
            env=self.environment(),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
        return Outcome(ended.returncode, ended.stdout)

    def succeed(self, *command: str, cwd: Path | None = None, seconds: float = 60) -> str:
        """Run a command that must succeed, and return what it said."""
        ended = self.run(*command, cwd=cwd, seconds=seconds)
        assert ended.code == 0, f"{' '.join(command)} ended with {ended.code}:\n{ended.said}"
        return ended.said

    def environment(self) -> dict[str, str]:
        home = self.folder / "home"
        ours = ("APP_", "GIT_", "NOX", "PYTEST", "PYTHON", "TEST_MODE", "VIRTUAL_ENV")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        caches = {"UV_CACHE_DIR": ".cache/uv", "PIP_CACHE_DIR": ".cache/pip"}
        return {
            **{name: str(Path.home() / folder) for name, folder in caches.items()},
            **kept,
            "HOME": str(home),
            "USERPROFILE": str(home),
            "GIT_CONFIG_GLOBAL": str(home / "gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "COOKIECUTTER_CONFIG": str(home / "cookiecutter.json"),
            "COLUMNS": "200",
        }

    def cookiecutter(self, template: str, *options: str, into: Path, cwd: Path | None = None) -> Path:
        """Stamp a project by `cookiecutter`, and return its folder."""
        self.succeed("cookiecutter", "--no-input", "-o", str(into), *options, template, *as_words(ANSWERS), cwd=cwd)
        return into / ANSWERS["project_slug"]

    def cruft_create(self, template: str, *, into: Path) -> Path:
        """Stamp a project by `cruft create`, and return its folder."""
        answers = json.dumps(ANSWERS)
        self.succeed("cruft", "create", template, "--no-input", "--output-dir", str(into), "--extra-context", answers)
        return into / ANSWERS["project_slug"]

    def copier_copy(self, template: str, *options: str, into: Path) -> Path:
        """Stamp a project by `copier copy`, and return its folder."""
        project = into / ANSWERS["project_slug"]
        answers = [word for pair in as_words(ANSWERS) for word in ("--data", pair)]
        self.succeed("copier", "copy", "--trust", "--defaults", *options, *answers, template, str(project))
        return project

    def typed(self, answers: Mapping[str, str], *, template: Path, into: Path) -> Outcome:
        """Stamp a project from answers taken literally, as if typed at the prompts, whatever they hold."""
        into.mkdir(parents=True, exist_ok=True)
        replay = into.with_suffix(".json")
        questions = json.loads((template / "cookiecutter.json").read_text())
        replay.write_text(json.dumps({"cookiecutter": {**questions, **ANSWERS, **answers}}))
        return self.run("cookiecutter", "--replay-file", str(replay), "-o", str(into), str(template))

    def commit(self, repository: Path, why: str) -> None:
        """Commit everything in a repository."""
        self.succeed("git", "add", "--all", cwd=repository)
        self.succeed("git", "commit", "--quiet", "--message", why, cwd=repository)


@dataclass(frozen=True)
class Reruns:
    """What has a run inside a test repeat tests as often as this run does, and shows which it repeated."""

    options: list[str]
    print: Callable[[str], None]

    def show(self, output: str) -> None:
        """Print which tests a run repeated, as this run prints its own."""
        for line in re.findall(r"^RERUN .+", output, re.MULTILINE):
            self.print(line)


def program(name: str) -> str:
    """Find a program, first of all beside the Python that runs the tests."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        raise RuntimeError(f"{name} is not installed here; run these tests by `nox -s template`")
    return found


def as_words(answers: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in answers.items()]


@dataclass(frozen=True)
class File:
    """What must be equal about a file, wherever the project came from."""

    content: bytes
    executable: bool


def tree(folder: Path) -> dict[str, File]:
    """Read every file of a project but git's own, and the notes of copier and cruft about where it came from."""
    return {
        path.relative_to(folder).as_posix(): File(path.read_bytes(), bool(path.stat().st_mode & 0o111))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in {".git", *ORIGINS}
    }
