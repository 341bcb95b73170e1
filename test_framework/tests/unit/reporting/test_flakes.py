"""Flaky, broken, the machine's fault, or not known: told apart, over hundreds of made-up histories."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from test_framework.reporting.flakes import SeenOutcome, is_infrastructure, judge, wilson
from test_framework.reporting.model import Steadiness
from test_framework.reporting.outcome import Outcome

# a busy machine is slow, and no fault of a test
BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SEEDS = range(300)


def looks(letters: str) -> list[SeenOutcome]:
    """A history on a new commit each."""
    return [SeenOutcome(letter, f"commit {number}") for number, letter in enumerate(letters)]


def thrown(seed: int, probability: float, runs: int = 50) -> str:
    dice = random.Random(seed)
    return "".join("F" if dice.random() < probability else "." for _ in range(runs))


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (1, 50, 0.0035, 0.1050), (50, 50, 0.9287, 1.0), (0, 0, 0.0, 1.0)],
)
def test_the_interval_is_the_one_in_the_books(hits: int, of: int, low: float, high: float) -> None:
    assert wilson(hits, of) == pytest.approx((low, high), abs=0.0001)


@given(st.integers(0, 200), st.integers(1, 200))
@BUSY
def test_the_interval_holds_the_share_and_stays_within_bounds(hits: int, of: int) -> None:
    low, high = wilson(min(hits, of), of)

    assert 0 <= low <= min(hits, of) / of <= high + 1e-12 <= 1 + 1e-9


def test_a_test_that_fails_one_run_in_eight_is_found_in_fifty_runs() -> None:
    found = sum(judge("t", looks(thrown(seed, 0.12))).steadiness is Steadiness.FLAKY for seed in SEEDS)

    assert found >= 0.85 * len(SEEDS)


def test_a_steady_test_is_never_called_flaky_and_neither_is_one_regression_with_its_mending() -> None:
    assert judge("t", looks("." * 50)).steadiness is Steadiness.STEADY
    for start in range(1, 40):
        for length in range(1, 8):
            history = "." * start + "F" * length
            assert judge("t", looks(history.ljust(50, "."))).steadiness is not Steadiness.FLAKY


@pytest.mark.parametrize("since", range(3, 30, 3))
def test_a_test_that_goes_on_failing_is_broken_and_not_flaky(since: int) -> None:
    assert judge("t", looks("." * (40 - since) + "F" * since)).steadiness is Steadiness.BROKEN


def test_both_outcomes_on_one_commit_are_proof_at_once() -> None:
    judged = judge("t", [SeenOutcome(".", "c"), SeenOutcome("F", "c")])

    assert (judged.steadiness, judged.same_commit) == (Steadiness.FLAKY, 1)


def test_two_runs_of_changed_files_are_no_proof() -> None:
    assert judge("t", [SeenOutcome("."), SeenOutcome("F")]).steadiness is Steadiness.NOT_ENOUGH_DATA


def test_a_retry_that_passed_is_proof_at_once() -> None:
    assert judge("t", looks("R")).steadiness is Steadiness.FLAKY


def test_few_runs_are_called_few() -> None:
    assert judge("t", looks(".F.F.")).steadiness is Steadiness.NOT_ENOUGH_DATA


def test_a_fall_together_with_everything_else_is_nobodys_flake() -> None:
    history = [SeenOutcome(".", "c"), SeenOutcome("E", "c", infrastructure=True), SeenOutcome(".", "c")]

    judged = judge("t", history)

    assert (judged.steadiness, judged.same_commit, judged.falls) == (Steadiness.INFRASTRUCTURE, 0, 0)


def test_a_run_is_the_machines_fault_only_when_a_great_part_falls() -> None:
    assert is_infrastructure([Outcome.ERROR] * 30 + [Outcome.PASSED] * 70)
    assert not is_infrastructure([Outcome.ERROR] * 29 + [Outcome.PASSED] * 71)
    assert not is_infrastructure([Outcome.ERROR] * 4)
    assert not is_infrastructure([Outcome.QUARANTINED] * 50)


@given(st.text("FER.Qsx- ", max_size=40))
@BUSY
def test_flips_are_counted_over_what_tells_something(letters: str) -> None:
    judged = judge("t", looks(letters))

    telling = [letter in "FERQ" for letter in letters if letter in "FERQ."]
    assert judged.runs == len(telling)
    assert judged.flips == sum(before != after for before, after in pairwise(telling))
    assert judged.low <= judged.flip_rate <= judged.high + 1e-12
