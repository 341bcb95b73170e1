"""The command: what it prints, when it fails, and which files it reads when some are named."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import pytest

from test_framework.guards.__main__ import main
from test_framework.guards.source import Finding, Guard, Source, files_of

Plant = Callable[[str, str], Source]


def guard(name: str, suffix: str, *, reads_together: bool = False) -> Guard:
    """Make a guard that dislikes the word `bad`."""

    def check(files: Sequence[Source]) -> list[Finding]:
        return [Finding(source.path, 1, "is bad; be good") for source in files if "bad" in source.text]

    def concerns(path: PurePosixPath) -> bool:
        return path.suffix == suffix

    return Guard(name, concerns, check, reads_together)


def test_a_clean_tree_passes_and_says_how_much_was_read(
    plant: Plant, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant("a.py", "good")
    plant("b/c.py", "good")

    code = main([], tmp_path, [guard("words", ".py")])

    assert code == 0
    assert capsys.readouterr().out == "guards: words read 2: 0 findings\n"


def test_a_finding_fails_and_names_its_place(plant: Plant, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant("b/c.py", "bad")

    code = main([], tmp_path, [guard("words", ".py")])

    assert code == 1
    assert "b/c.py:1: is bad; be good\n" in capsys.readouterr().out


def test_a_guard_that_read_nothing_fails(plant: Plant, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant("a.py", "good")

    code = main([], tmp_path, [guard("words", ".py"), guard("blind", ".rs")])

    assert code == 1
    assert "blind: found no file to read" in capsys.readouterr().out


def test_only_the_named_files_are_read(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plant("a.py", "good")
    plant("b.py", "bad")

    code = main(["a.py"], tmp_path, [guard("words", ".py"), guard("blind", ".rs")])

    assert code == 0
    assert capsys.readouterr().out == "guards: words read 1: 0 findings\n"


def test_files_that_are_judged_together_are_all_read(plant: Plant, tmp_path: Path) -> None:
    changed = plant("a.py", "good")
    plant("b.py", "bad")

    code = main([str(tmp_path / changed.path)], tmp_path, [guard("words", ".py", reads_together=True)])

    assert code == 1


def test_files_that_concern_no_guard_pass(plant: Plant, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = plant("a.png", "")

    code = main([str(tmp_path / picture.path)], tmp_path, [guard("words", ".py")])

    assert code == 0
    assert "no guard is concerned" in capsys.readouterr().out


def test_without_git_hidden_and_built_files_are_left_out(plant: Plant, tmp_path: Path) -> None:
    for path in ("a.py", ".github/a.yml", ".env.test", ".venv/b.py", "x/__pycache__/c.py", "node_modules/d.json"):
        plant(path, "")

    assert [source.path for source in files_of(tmp_path)] == [".env.test", ".github/a.yml", "a.py"]


@pytest.mark.needs("git")
def test_with_git_new_files_are_read_and_ignored_ones_are_not(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)  # git sets them for its hooks, and they point at another repository
    for path, content in {".gitignore": "secret.py\n", "secret.py": "", "new.py": "", "gone.py": ""}.items():
        plant(path, content)
    for command in (["init", "-q"], ["add", "gone.py"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    (tmp_path / "gone.py").unlink()

    assert [source.path for source in files_of(tmp_path)] == [".gitignore", "new.py"]
