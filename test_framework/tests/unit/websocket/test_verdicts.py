"""What `validate()` and `performance()` say: each fault is found, and called what it is."""

from __future__ import annotations

import pytest

from commitstream.settings import EngineSettings
from commitstream.tests.jobs.client import BEGUN, DONE, ENDED, STARTED, THE_FIVE, THOUGHT
from test_framework.tests.unit.websocket.planted import EVE, ada_of, good, run_of, stream, text, whose
from test_framework.websocket.verdicts import Latency, judge


def test_a_good_stream_is_valid_with_and_without_a_word_on_what_is_expected() -> None:
    verdict = judge(good(), THE_FIVE)

    assert judge(good()).valid
    assert (verdict.valid, verdict.missing, verdict.extra, verdict.order) == (True, (), (), ())
    assert verdict.counts == dict.fromkeys(THE_FIVE, 1)
    assert verdict.latency.count == 5
    assert str(verdict) == "a valid stream of 5 events"


def test_nothing_is_valid_only_where_nothing_is_expected() -> None:
    assert judge(stream()).valid
    assert judge(stream(), [STARTED]).missing == ("1 × job_started",)


@pytest.mark.parametrize("event_type", THE_FIVE)
def test_one_event_of_the_five_is_never_a_valid_run(event_type: str) -> None:
    assert not judge(stream((1, event_type))).valid
    assert not judge(stream((1, event_type)), THE_FIVE).valid


@pytest.mark.parametrize("dropped", range(5))
def test_four_events_of_the_five_are_not_what_was_expected_whichever_is_dropped(dropped: int) -> None:
    kinds = [kind for place, kind in enumerate(THE_FIVE) if place != dropped]

    verdict = judge(stream(*run_of(*kinds)), THE_FIVE)

    assert f"1 × {THE_FIVE[dropped]}" in verdict.missing
    assert not verdict.valid


def test_a_number_that_was_passed_over_is_missing() -> None:
    assert judge(stream((1, STARTED), (3, ENDED))).missing == ("event 2",)


def test_a_run_that_did_not_end_lacks_its_end() -> None:
    assert judge(stream(*run_of(STARTED, THOUGHT))).missing == ("job_ended of run",)


def test_an_event_that_came_twice_is_too_much_and_against_the_grammar() -> None:
    verdict = judge(stream((1, STARTED), (2, ENDED), (2, ENDED)))

    assert verdict.extra == ("event 2 job_ended, again",)
    assert verdict.order == ("job_ended can't follow job_ended: expected nothing more, in run",)


def test_an_event_that_came_too_late_is_out_of_order() -> None:
    verdict = judge(stream((1, STARTED), (3, THOUGHT), (2, THOUGHT), (4, ENDED)))

    assert (verdict.missing, verdict.extra, verdict.order) == ((), (), ("event 2 job_thought, too late",))


def test_a_kind_that_nobody_expected_is_too_much() -> None:
    verdict = judge(stream(*run_of(STARTED, THOUGHT, ENDED)), [STARTED, ENDED])

    assert verdict.extra == ("1 × job_thought",)


def test_the_right_kinds_in_another_order_are_out_of_order() -> None:
    verdict = judge(stream(*run_of(STARTED, BEGUN, DONE, THOUGHT, ENDED)), THE_FIVE)

    assert verdict.order == ("the types that were expected came in another order",)


def test_what_is_no_event_is_too_much() -> None:
    capture = good()
    capture.capture("noise")

    assert judge(capture).extra[0].startswith("what is no event: Invalid JSON")


def test_an_event_of_another_stream_is_too_much(plain: EngineSettings) -> None:
    capture = whose(ada_of(plain), EVE)
    capture.capture(text(2, ENDED, "run1", stream=EVE))

    assert judge(capture).extra == (
        "event 1 job_started of user:eve",
        "event 2 job_ended of user:eve",
    )


def test_every_fault_is_told_on_a_line_of_its_kind() -> None:
    said = str(judge(stream((1, STARTED), (3, DONE), (3, DONE))))

    assert said.splitlines()[0].startswith("missing: event 2, job_ended of run")
    assert [line.partition(":")[0] for line in said.splitlines()] == ["missing", "extra", "order"]


def test_latency_is_told_by_its_middle_its_tail_and_its_worst() -> None:
    latency = Latency.of([n / 100 for n in range(1, 101)])

    assert (latency.count, latency.median, latency.p95, latency.worst) == (100, 0.505, 0.96, 1.0)
    assert Latency.of([]) == Latency()
    assert Latency.of([0.5]).p95 == 0.5
