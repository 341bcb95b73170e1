"""Real runs of real shards: what they run, what they leave, and what the merge says of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from test_framework import CHECKOUT
from test_framework.reporting.shard_proof import Proof, main, merge, read_proofs
from test_framework.sharding import DIRECTORY, plan_file

SECONDS = 60
pytestmark = pytest.mark.timeout(3 * SECONDS)  # each of these is several runs

TESTS = """
import os, pytest

@pytest.mark.parametrize("number", range(7))
def test_number(number):
    pass

def test_red_when_told():
    assert "RED" not in os.environ

def test_dies_when_told():
    if "DIE" in os.environ:
        os.kill(os.getpid(), 9)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A little project with nine tests."""
    folder = tmp_path / "tests" / "unit"
    folder.mkdir(parents=True)
    (folder / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def shard(project: Path, which: str, *arguments: str, **environment: str) -> int:
    """Run one shard as somebody would, and tell how it ended."""
    return run(project, f"--shard={which}", *arguments, **environment)


def run(project: Path, *arguments: str, **environment: str) -> int:
    """Run the project's tests, all of them unless told otherwise."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "test_framework.plugin", *arguments]
    own = os.environ | {"PYTHONPATH": str(CHECKOUT)} | environment
    own.pop("TEST_MODE", None)
    return subprocess.run(command, cwd=project, env=own, timeout=SECONDS, capture_output=True, check=False).returncode


def proofs(project: Path) -> list[Proof]:
    return read_proofs(project / DIRECTORY)


def test_two_shards_run_every_test_once_and_each_is_green_by_itself(project: Path) -> None:
    page = project / "step.md"
    codes = [
        shard(project, "1/2", GITHUB_STEP_SUMMARY=str(page)),
        shard(project, "2/2", "-n", "2", GITHUB_STEP_SUMMARY=str(page)),
    ]

    verdicts = [line for line in page.read_text().splitlines() if line.startswith("## ")]
    assert verdicts == [
        "## ✅ lightweight: all 5 tests of shard 1 of 2 did what they should",
        "## ✅ lightweight: all 4 tests of shard 2 of 2 did what they should",
    ]
    merged = merge(proofs(project))
    assert codes == [0, 0]
    assert merged.sound, merged.faults
    assert len(merged.outcomes) == 9


def test_random_order_does_not_move_a_test_to_another_shard(project: Path) -> None:
    shard(project, "1/3", "--randomly-seed=1")
    shard(project, "2/3", "-p", "no:randomly")
    shard(project, "3/3")

    assert merge(proofs(project)).sound


def test_a_red_test_is_red_in_the_merge(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = {shard(project, "1/2", RED="1"), shard(project, "2/2", RED="1")}

    code = main([str(project / DIRECTORY)])

    assert codes == {0, 1}
    assert code == 1
    assert "failed: tests/unit/test_some.py::test_red_when_told" in capsys.readouterr().out


def test_a_shard_that_was_killed_is_missed_and_running_it_again_mends_it(project: Path) -> None:
    ends = {which: shard(project, which, DIE="1") for which in ("1/2", "2/2")}
    killed = next(which for which, code in ends.items() if code != 0)
    faults = merge(proofs(project)).faults

    shard(project, killed)

    assert f"shard {killed[0]} left no proof: did it run to its end?" in faults
    assert merge(proofs(project)).sound


def test_a_worker_that_dies_leaves_its_test_red(project: Path) -> None:
    shard(project, "1/1", "-n", "2", "--max-worker-restart=0", DIE="1")

    merged = merge(proofs(project))
    assert not merged.sound
    assert "tests/unit/test_some.py::test_dies_when_told" in [*merged.failed, *merged.faults]


def test_collecting_alone_makes_the_plan_and_no_proof(project: Path) -> None:
    code = shard(project, "1/2", "--collect-only")

    assert code == 0
    assert plan_file("lightweight", project / DIRECTORY).exists()
    assert proofs(project) == []


def test_a_plan_that_was_handed_over_is_obeyed(project: Path) -> None:
    shard(project, "1/2", "--collect-only")
    plan = plan_file("lightweight", project / DIRECTORY)
    written = plan.read_text().replace("\n", " ")  # the same plan, in another's handwriting
    plan.write_text(written)

    shard(project, "1/2")

    assert plan.read_text() == written
    assert len(proofs(project)[0].outcomes) < 9


def test_shards_are_balanced_by_what_tests_took_before(project: Path) -> None:
    slow = "import time, pytest\n\n@pytest.mark.parametrize('n', range(9))\ndef test_n(n):\n    time.sleep(0.4 * (n == 8))\n"
    (project / "tests" / "unit" / "test_some.py").write_text(slow)
    run(project)

    shard(project, "1/2", "--collect-only")

    shares = json.loads(plan_file("lightweight", project / DIRECTORY).read_text())
    assert ["tests/unit/test_some.py::test_n[8]"] in shares
