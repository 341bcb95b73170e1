"""The command: what it prints, when it fails, and which files it reads when some are named."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import pytest

from test_framework import CHECKOUT
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


BROKEN, SOUND = "<<<<<<< HEAD\n", "def sound() -> int:\n    return 1\n"


def command(root: Path, *names: str) -> subprocess.CompletedProcess[str]:
    """Run the guards as a process in a project."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(
        [sys.executable, "-m", "test_framework.guards", *names],
        cwd=root,
        env={**environment, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("named", ["pkg", "pkg/", "pkg/deep", ".", "pkg/deep/broken.py"])
def test_a_fault_below_a_named_folder_is_found(plant: Plant, tmp_path: Path, named: str) -> None:
    plant("pkg/sound.py", SOUND)
    plant("pkg/deep/broken.py", f"\n{BROKEN}")

    ended = command(tmp_path, named)

    assert ended.returncode == 1, ended.stderr
    assert "pkg/deep/broken.py:2: holds a merge marker" in ended.stdout


def test_a_named_folder_without_a_fault_passes(plant: Plant, tmp_path: Path) -> None:
    plant("pkg/sound.py", SOUND)
    plant("other/broken.py", BROKEN)

    ended = command(tmp_path, "pkg")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.startswith("guards: syntax read 1, ")


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ("gone.py", "gone.py:1: does not exist"),
        ("pkg/gone", "pkg/gone:1: does not exist"),
        ("empty", "empty:1: holds no file of the project"),
        ("..", "..:1: lies outside the project"),
    ],
)
def test_a_name_that_leads_to_no_file_fails(plant: Plant, tmp_path: Path, named: str, reason: str) -> None:
    plant("pkg/sound.py", SOUND)
    (tmp_path / "empty").mkdir()

    ended = command(tmp_path, "pkg/sound.py", named)

    assert ended.returncode == 2, ended.stderr
    assert reason in ended.stdout


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
