"""Cleaning takes what nobody owns any more, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from test_framework.services import leftovers, run
from test_framework.services.stack import Stack
from test_framework.services.state import EngineDownError
from test_framework.tasks import clean


@pytest.fixture(autouse=True)
def _own_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (leftovers, run):
        monkeypatch.setattr(module, "runtime_root", lambda: tmp_path)
    monkeypatch.setattr("test_framework.services.engine.connect", no_engine)


def no_engine() -> None:
    raise EngineDownError


def ended_run(root: Path, name: str) -> Path:
    (root / name).mkdir()
    (root / name / "something").touch()
    (root / f"{name}.lease").touch()
    return root / name


def test_an_ended_run_is_removed_and_one_at_work_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended, at_work = ended_run(tmp_path, "ended"), ended_run(tmp_path, "working")
    (tmp_path / "no-run").mkdir()

    with FileLock(tmp_path / "working.lease"):
        clean.remove(leftovers.of_ended_runs(Stack.dev()), dry_run=False)

    assert capsys.readouterr().out == "removing run ended\n"
    assert not ended.exists()
    assert at_work.exists()
    assert (tmp_path / "no-run").exists()


def test_a_dry_run_says_what_it_would_remove_and_removes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = ended_run(tmp_path, "ended")

    clean.remove(leftovers.of_ended_runs(Stack.dev()), dry_run=True)

    assert capsys.readouterr().out == "would remove run ended\n"
    assert ended.exists()


def test_a_clean_place_needs_no_cleaning(capsys: pytest.CaptureFixture[str]) -> None:
    clean.remove(leftovers.of_ended_runs(Stack.dev()), dry_run=False)

    assert capsys.readouterr().out == "nothing to remove\n"
