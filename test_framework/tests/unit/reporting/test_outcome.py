"""Every test has one outcome, and the outcomes add up."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from test_framework.reporting.outcome import LETTERS, OF_LETTER, Counts, Outcome

# a busy machine is slow, and no fault of a test
BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
OUTCOMES = st.lists(st.sampled_from(list(Outcome)), max_size=60)


@given(OUTCOMES)
@BUSY
def test_all_outcomes_together_are_what_was_collected(outcomes: list[Outcome]) -> None:
    counts = Counts.of(outcomes)

    assert counts.collected == len(outcomes) == sum(counts.by_outcome().values())
    assert counts.by_outcome() == {outcome: outcomes.count(outcome) for outcome in Outcome}
    assert counts.bad == sum(outcome.bad for outcome in outcomes)


@given(OUTCOMES, st.floats(min_value=0, max_value=100))
@BUSY
def test_the_distance_is_the_smallest_number_that_reaches_the_mark(outcomes: list[Outcome], mark: float) -> None:
    counts = Counts.of(outcomes)
    green = counts.passed + counts.retried + counts.xpassed

    missing = counts.to_fix(mark)

    if counts.judged:
        assert 100 * (green + missing) / counts.judged >= mark - 1e-6
        assert missing == 0 or 100 * (green + missing - 1) / counts.judged < mark
    else:
        assert counts.pass_rate is None


def test_the_distance_of_a_suite_that_has_been_counted_by_hand() -> None:
    counts = Counts(collected=1322, passed=1269, failed=53)

    assert counts.pass_rate == pytest.approx(95.99, abs=0.005)
    assert [counts.to_fix(mark) for mark in (95, 98, 100)] == [0, 27, 53]


def test_every_outcome_has_a_letter_of_its_own() -> None:
    assert LETTERS.keys() == set(Outcome)
    assert {OF_LETTER[outcome.letter] for outcome in Outcome} == set(Outcome)
