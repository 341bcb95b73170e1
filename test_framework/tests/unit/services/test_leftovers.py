"""Cleaning takes what nobody owns any more, and nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from filelock import FileLock

from test_framework.services import cluster_cache, leftovers, run
from test_framework.services.stack import Stack
from test_framework.services.state import EngineDownError
from test_framework.tasks import clean


@pytest.fixture(autouse=True)
def _own_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (leftovers, run):
        monkeypatch.setattr(module, "runtime_root", lambda: tmp_path)
    monkeypatch.setattr(cluster_cache, "cache_root", lambda: tmp_path / "cache")
    for name in ("connect", "look"):
        monkeypatch.setattr(f"test_framework.services.engine.{name}", no_engine)


def no_engine(path: str = "") -> None:
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


def cluster(root: Path, *users: Path) -> Path:
    """A cached cluster that these checkouts use."""
    entry = root / "cache" / "clusters" / "0123456789abcdef"
    entry.mkdir(parents=True)
    for user in users:
        mark = cluster_cache.used_by(entry, user)
        mark.parent.mkdir(exist_ok=True)
        mark.write_text(str(user))
    return entry


def clear_caches(stack: Stack) -> None:
    clean.remove(leftovers.caches(stack), dry_run=False)


def test_a_cache_that_only_this_checkout_uses_is_removed(tmp_path: Path) -> None:
    stack = Stack.dev(tmp_path)
    entry = cluster(tmp_path, stack.checkout, tmp_path / "removed long ago")

    clear_caches(stack)

    assert not entry.exists()
    assert not entry.with_suffix(".users").exists()


@pytest.mark.parametrize("known", [True, False])
def test_a_cache_that_another_checkout_may_use_stays(known: bool, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    entry = cluster(tmp_path, *([other, tmp_path] if known else []))

    clear_caches(Stack.dev(tmp_path))

    assert entry.exists()


def test_a_cache_stays_while_a_run_of_this_checkout_uses_it(tmp_path: Path) -> None:
    stack = Stack.dev(tmp_path)
    entry = cluster(tmp_path, stack.checkout)

    with FileLock(tmp_path / f"{stack.digest}-run1.lease"):
        clear_caches(stack)

    assert entry.exists()


def test_a_cache_is_removed_under_the_lock_of_its_users(tmp_path: Path) -> None:
    stack = Stack.dev(tmp_path)
    entry = cluster(tmp_path, stack.checkout)
    other = tmp_path / "other"
    other.mkdir()
    (leftover,) = leftovers.caches(stack)
    with ThreadPoolExecutor(1) as thread:
        with cluster_cache.lock(entry):
            removed = thread.submit(leftover.remove)
            assert not wait([removed], 0.2).done
            cluster_cache.used_by(entry, other).write_text(str(other))  # as one does that has waited for the lock

        assert removed.result(10) is False
    assert entry.exists()
