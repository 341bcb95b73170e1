"""Which files of the checkout are the template's own, and which of these a project gets."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

OVERLAY = "{{cookiecutter.project_slug}}"
TEMPLATE_ONLY = (
    ".ci",
    "benchmarks",
    "commitstream/tests",
    "cookiecutter.json",
    "copier.yml",
    "cos_scaffold",
    "docs/benchmarks.md",
    "docs/claims.md",
    "docs/report.png",
    "docs/stamping.md",
    "hooks",
    "LICENSE",
    "test_framework/errors/document.py",
    "test_framework/proving",
    "test_framework/reporting/sample.py",
    "test_framework/running/planted.py",
    "test_framework/tests",
    "tests/agents/mission_critical/mutants.md",
    "tests/agents/performance/baseline.json",
    "tests/template",
    OVERLAY,
)
GIT_REDIRECTIONS = frozenset({"GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"})


def project_files(root: Path) -> list[str]:
    """List what a project gets: the live files less what makes this a template, and less what the overlay replaces."""
    live = live_files(root)
    replaced = {name.removeprefix(f"{OVERLAY}/") for name in live if name.startswith(f"{OVERLAY}/")}
    return [name for name in live if name not in replaced and not within(name, TEMPLATE_ONLY)]


def live_files(root: Path) -> list[str]:
    """List the files of the checkout, without what git ignores, as sorted paths with forward slashes."""
    if (root / ".git").exists() and shutil.which("git"):
        return sorted(name for name in _known_to_git(root) if (root / name).is_file())
    return sorted(_walked(root, (".git", *_ignored_patterns(root))))


def within(name: str, folders: tuple[str, ...]) -> bool:
    """Say whether a path is one of the folders or lies in one."""
    return any(name == folder or name.startswith(f"{folder}/") for folder in folders)


def _known_to_git(root: Path) -> list[str]:
    # the checkout may belong to another user, and a git hook above us may point git at another repository
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    environment = {name: value for name, value in os.environ.items() if name not in GIT_REDIRECTIONS}
    listed = subprocess.run(command, cwd=root, env=environment, capture_output=True, check=False)
    if listed.returncode != 0:
        reason = os.fsdecode(listed.stderr).strip()
        raise RuntimeError(f"git can't list the template in {root}: {reason}; try `git -C {root} status`")
    return [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]


def _ignored_patterns(root: Path) -> list[str]:
    gitignore = root / ".gitignore"
    lines = gitignore.read_text(encoding="utf-8").splitlines() if gitignore.exists() else []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _walked(root: Path, ignored: tuple[str, ...]) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        here = PurePosixPath(Path(folder).relative_to(root).as_posix())
        folders[:] = [name for name in folders if not _is_ignored(here / name, ignored, is_folder=True)]
        yield from (str(here / name) for name in files if not _is_ignored(here / name, ignored, is_folder=False))


def _is_ignored(path: PurePosixPath, patterns: tuple[str, ...], *, is_folder: bool) -> bool:
    for pattern in patterns:
        if pattern.endswith("/") and not is_folder:
            continue
        plain = pattern.rstrip("/")
        subject = str(path) if "/" in plain else path.name
        if fnmatch(subject, plain.lstrip("/")):
            return True
    return False
