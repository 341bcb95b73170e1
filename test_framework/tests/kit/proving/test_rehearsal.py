"""A rehearsal does what the workflow's file says, and is red where GitHub would be."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from test_framework.proving.rehearsal import Rehearsal, main, variants

pytestmark = pytest.mark.needs("git")

FLOW = """
on: push
jobs:
  plan:
    steps:
      - uses: actions/checkout@0 # v1.0.0
      - run: mkdir out && git rev-parse HEAD > out/plan
      - uses: actions/upload-artifact@0
        with: {name: plan, path: out}
  shard:
    needs: plan
    strategy:
      matrix:
        include: [{shard: 1/2, artifact: one}, {shard: 2/2, artifact: two}]
    env:
      SHARD: ${{ matrix.shard }}
    steps:
      - uses: actions/checkout@0
      - uses: actions/download-artifact@0
        with: {name: plan, path: out}
      - run: test -s out/plan && mkdir done && echo "$SHARD" > done/which && COMMAND
      - if: always()
        uses: actions/upload-artifact@0
        with: {name: "shard-${{ matrix.artifact }}-${{ github.run_attempt }}", path: done}
  check:
    if: always()
    needs: [plan, shard]
    steps:
      - uses: actions/checkout@0
      - uses: actions/download-artifact@0
        with: {pattern: shard-*, path: merged}
      - run: cat merged/*/which > "$SEEN"
      - if: contains(needs.*.result, 'failure')
        run: exit 1
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / ".github" / "workflows").mkdir(parents=True)
    (root / "file").write_text("text")
    who = ("-c", "user.name=ada", "-c", "user.email=ada@example.test")
    for command in (["init", "-q"], ["add", "file"], ["commit", "-qm", "start"]):
        subprocess.run(["git", *who, *command], cwd=root, check=True, capture_output=True)
    return root


def rehearse(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> tuple[bool, str]:
    seen = tmp_path / "seen"
    monkeypatch.setenv("SEEN", str(seen))
    flow = repository / ".github" / "workflows" / "flow.yml"
    flow.write_text(FLOW.replace("COMMAND", command))
    place = tmp_path / "place"
    place.mkdir()
    return Rehearsal(repository, place).run(flow), seen.read_text() if seen.exists() else ""


def test_artifacts_reach_the_jobs_that_come_after(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed, seen = rehearse(repository, tmp_path, monkeypatch, "true")

    assert passed
    assert seen.split() == ["1/2", "2/2"]


def test_a_shard_that_fails_still_hands_on_its_report_and_the_check_is_red(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed, seen = rehearse(repository, tmp_path, monkeypatch, "test $SHARD = 1/2")

    assert not passed
    assert seen.split() == ["1/2", "2/2"]


def test_jobs_that_wait_for_each_other_are_named(repository: Path, tmp_path: Path) -> None:
    flow = tmp_path / "flow.yml"
    flow.write_text("jobs: {a: {needs: b, steps: []}, b: {needs: [a], steps: []}}")

    with pytest.raises(ValueError, match=r"flow\.yml: a, b wait for each other"):
        Rehearsal(repository, tmp_path).run(flow)


def test_a_project_without_workflows_has_nothing_to_rehearse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], tmp_path) == 2
    assert f"nothing to rehearse: {tmp_path / '.github' / 'workflows'} has no workflow" in capsys.readouterr().out


def test_of_a_matrix_of_systems_only_one_is_here() -> None:
    job = {"strategy": {"matrix": {"system": ["ubuntu-latest", "windows-latest"], "python": ["3.11", "3.12"]}}}

    assert len(list(variants(job))) == 1


def test_a_workflow_that_is_not_there_is_named(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["absent"], repository)

    assert code == 2
    assert "no such workflow: ['absent.yml']" in capsys.readouterr().out
