"""The live files are what git tracks or would track; without git, the same."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from cos_scaffold.live_files import live_files, project_files
from tests.template.workbench import ROOT, Workbench

IGNORED = "# made here\n.env.local\n.data/\n.venv/\n__pycache__/\n*.egg-info/\n.DS_Store\n"
FILES = ("a.py", "deep/er/b.py", "deep/data", ".env.example", ".hidden/c", "Größe & Maß.md")
JUNK = (".env.local", "deep/.env.local", ".data/x", "__pycache__/a.pyc", "deep/__pycache__/b.pyc", "x.egg-info/PKG")


def planted(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


@pytest.fixture
def repository(workbench: Workbench, tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    planted(root, *FILES)
    (root / ".gitignore").write_text(IGNORED)
    workbench.succeed("git", "init", "--quiet", cwd=root)
    workbench.commit(root, "everything")
    planted(root, *JUNK)
    return root


def test_git_and_a_walk_find_the_same_files(repository: Path) -> None:
    known_to_git = live_files(repository)
    (repository / ".git").rename(repository.parent / "no-longer-git")

    assert live_files(repository) == known_to_git == sorted([".gitignore", *FILES])


def test_a_walk_of_this_repository_finds_what_git_finds(checkout: Path, tmp_path: Path) -> None:
    known_to_git = live_files(checkout)
    aside = tmp_path / "git"
    (checkout / ".git").rename(aside)
    try:
        walked = live_files(checkout)
    finally:
        aside.rename(checkout / ".git")

    assert walked == known_to_git


def test_a_file_that_is_new_counts_and_one_that_is_deleted_does_not(repository: Path) -> None:
    planted(repository, "new.py")
    (repository / "a.py").unlink()

    found = live_files(repository)

    assert "new.py" in found
    assert "a.py" not in found


def test_a_walk_prunes_by_folder_and_by_file(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("build/\n/only-here\ndocs/made/\n")
    planted(tmp_path, "build/x", "deep/build/x", "notes/build", "docs/made/x", "docs/kept")

    assert live_files(tmp_path) == [".gitignore", "docs/kept", "notes/build"]


def test_a_git_hook_around_us_does_not_point_git_elsewhere(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other" / "index"))

    assert "a.py" in live_files(repository)


def test_a_repository_that_git_cannot_read_is_named(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: nowhere\n")

    with pytest.raises(RuntimeError, match=rf"(?s){re.escape(str(tmp_path))}.*git -C"):
        live_files(tmp_path)


def test_a_project_gets_neither_the_template_nor_what_the_overlay_replaces(repository: Path) -> None:
    overlay = "{{cookiecutter.project_slug}}"
    planted(repository, "README.md", f"{overlay}/README.md", "hooks/post.py", "tests/template/t.py", "tests/unit/t.py")
    planted(repository, "cookiecutter.json", "cos_scaffold/a.py", "docs/stamping.md", ".ci/run", "LICENSE", "hooks.md")

    assert project_files(repository) == sorted([".gitignore", *FILES, "tests/unit/t.py", "hooks.md"])


def test_this_repository_holds_no_symlink() -> None:
    assert [name for name in live_files(ROOT) if (ROOT / name).is_symlink()] == []


def test_in_this_repository_scripts_are_executable_and_nothing_else_is() -> None:
    files = [ROOT / name for name in live_files(ROOT)]

    scripts = {path for path in files if path.read_bytes().startswith(b"#!")}

    assert {path for path in files if os.access(path, os.X_OK) and path.stat().st_mode & 0o111} == scripts
