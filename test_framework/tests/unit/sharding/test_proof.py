"""What is missing, doubled, empty or at odds is found; what is sound is called so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from test_framework.reporting.shard_proof import Proof, main, merge

ALL = ["a", "b", "c", "d"]


def proof(shard: int, *ran: str, of: int = 2, **changed: object) -> Proof:
    made = Proof(shard, of, "integration", "plan", list(ALL), dict.fromkeys(ran, "passed"), float(shard))
    return replace(made, **changed)  # type: ignore[arg-type]


def test_shards_that_ran_every_test_once_are_sound() -> None:
    merged = merge([proof(1, "a", "b"), proof(2, "c", "d")])

    assert merged.sound
    assert sorted(merged.outcomes) == ALL


@pytest.mark.parametrize(
    ("proofs", "fault"),
    [
        pytest.param([], "there is no shard's proof: did any run with --shard?", id="nothing"),
        pytest.param([proof(1, *ALL)], "shard 2 left no proof: did it run to its end?", id="a shard is missing"),
        pytest.param([proof(1, "a", "b"), proof(2, "c")], "collected and never run: d", id="a test is missing"),
        pytest.param(
            [proof(1, "a", "b", "c"), proof(2, "c", "d")], "ran in shard 2 and in another: c", id="a test is doubled"
        ),
        pytest.param([proof(1, *ALL), proof(2)], "shard 2 ran no test", id="a shard is empty"),
        pytest.param(
            [proof(1, "a", "b"), proof(2, "c", "d", of=3)], "shard 2 is one of 3, shard 1 one of 2", id="another number"
        ),
        pytest.param(
            [proof(1, "a", "b"), proof(2, "c", "d", collected=["a", "b", "c", "d", "e"])],
            "shards 1 and 2 did not collect the same: e",
            id="another collection",
        ),
        pytest.param(
            [proof(1, "a", "b"), proof(2, "c", "d", plan="other")],
            "shards 1 and 2 obeyed different plans: hand one plan-integration.json to both",
            id="another plan",
        ),
    ],
)
def test_what_is_not_sound_is_named(proofs: list[Proof], fault: str) -> None:
    merged = merge(proofs)

    assert fault in merged.faults
    assert not merged.sound


def test_a_shard_that_ran_again_counts_once_by_its_later_run() -> None:
    first = proof(2, "c", "d", outcomes={"c": "failed", "d": "passed"}, finished=2.0)

    merged = merge([proof(2, "c", "d", finished=3.0), proof(1, "a", "b"), first])

    assert merged.sound
    assert merged.remarks == ["shard 2 ran again: the later run counts"]


def test_a_failure_in_one_shard_is_a_failure_of_all() -> None:
    merged = merge([proof(1, "a", "b"), proof(2, outcomes={"c": "passed", "d": "failed"})])

    assert merged.faults == []
    assert merged.failed == ["d"]
    assert not merged.sound


def test_a_tear_down_that_passes_does_not_mend_a_call_that_failed() -> None:
    made = proof(1)

    for outcome in ("passed", "failed", "passed"):
        made.note("a", outcome)

    assert made.outcomes == {"a": "failed"}


def test_a_retry_that_passed_is_not_a_failure() -> None:
    made = proof(1)

    for outcome in ("passed", "rerun", "passed", "passed"):
        made.note("a", outcome)

    assert made.outcomes == {"a": "passed"}


def test_modes_are_proven_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for mode in ("integration", "full"):
        proof(1, "a", "b", mode=mode).write(tmp_path)
        proof(2, "c", "d", mode=mode).write(tmp_path)

    code = main([str(tmp_path)])

    assert code == 0
    assert "integration: 4 tests ran, each in exactly one shard; 0 failed" in capsys.readouterr().out


def test_an_empty_directory_proves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main([str(tmp_path)])

    assert code == 1
    assert "there is no shard's proof" in capsys.readouterr().out


def test_a_proof_cut_short_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proof(1, *ALL, of=1).write(tmp_path).write_text('{"shard": 1')

    code = main([str(tmp_path)])

    assert code == 2
    assert "is not a shard's proof" in capsys.readouterr().err
