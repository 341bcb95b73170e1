"""What a capture says of a stream, and that every assertion of it fails on a stream planted wrong, in words that help."""

from __future__ import annotations

import re
from collections.abc import Callable
from textwrap import dedent

import pytest

from commitstream.settings import EngineSettings
from commitstream.tests.jobs.client import BEGUN, DONE, ENDED, STARTED, THE_FIVE, THOUGHT
from test_framework.tests.unit.websocket.planted import ADA, EVE, ada_of, good, long_ago, run_of, stream, text, whose
from test_framework.websocket.difference import difference
from test_framework.websocket_capture import WebSocketEventCapture

Plant = Callable[[], WebSocketEventCapture]


def fails(assertion: Callable[[], None]) -> str:
    """What an assertion says when it fails, without the marks of pytest's rewriting."""
    with pytest.raises(AssertionError) as failed:
        assertion()
    return str(failed.value)


def shown(block: str) -> str:
    return dedent(block).strip("\n")


class TestWhatItCollects:
    def test_a_message_of_several_lines_is_several_events(self) -> None:
        capture = WebSocketEventCapture()

        capture.capture("\n".join(text(seq, kind) for seq, kind in run_of(*THE_FIVE)))

        assert (len(capture.events), len(capture.arrivals), capture.cursor) == (5, 5, 5)

    def test_a_word_about_the_connection_is_no_event_and_no_fault(self) -> None:
        capture = WebSocketEventCapture(after=3)

        capture.capture('{"type": "pong"}')

        assert (capture.events, capture.said, capture.malformed) == ([], [{"type": "pong"}], [])
        assert capture.cursor == 3

    @pytest.mark.parametrize(
        ("message", "reason"),
        [
            ("what?", "Invalid JSON"),
            ("", "Invalid JSON"),
            ("[]", "should be an object"),
            ('{"seq": "first", "stream": "user:ada", "type": "job_started", "at": "2026-11-21T06:12:03Z"}', "seq: Input should be"),
            ('{"seq": 1, "type": "job_started", "at": "2026-11-21T06:12:03Z"}', "stream: Field required"),
            ('{"seq": 1, "stream": "user:ada", "at": "2026-11-21T06:12:03Z"}', "type: Field required"),
            ('{"stream": "user:ada", "type": "job_started", "at": "2026-11-21T06:12:03Z"}', "seq: Field required"),
        ],
    )  # fmt: skip
    def test_what_is_no_event_is_kept_with_the_reason(self, message: str, reason: str) -> None:
        capture = stream((1, STARTED))

        capture.capture(message)

        (fault,) = capture.malformed
        assert fault.text == message
        assert reason in fault.reason
        assert len(capture.events) == 1

    def test_it_counts_by_kind_and_knows_its_runs_in_their_order(self) -> None:
        capture = stream((1, STARTED), (2, THOUGHT), (3, THOUGHT))
        capture.capture(text(4, STARTED, "another"))

        assert capture.counts == {STARTED: 2, THOUGHT: 2}
        assert capture.runs == ["run", "another"]
        assert [event.seq for event in capture.of_kind(THOUGHT)] == [2, 3]
        assert capture.kinds("another") == [STARTED]

    def test_cleared_it_goes_on_from_where_it_was(self) -> None:
        capture = good()

        capture.clear()
        capture.capture(text(6, STARTED))

        capture.assert_unbroken()
        assert (capture.after, len(capture.events)) == (5, 1)

    def test_how_long_an_event_took_is_told_from_its_writing_to_its_arrival(self) -> None:
        capture = good()
        capture.capture(text(6, STARTED, at=long_ago()))

        assert all(0 <= took < 5 for took in capture.latencies[:5])
        assert [event.seq for event in capture.late(60)] == [6]

    @pytest.mark.parametrize(
        ("seqs", "missing", "duplicates", "disordered"),
        [
            ([1, 2, 3], [], [], []),
            ([1, 3, 5], [2, 4], [], []),
            ([2, 3], [1], [], []),
            ([1, 2, 2, 3], [], [2], []),
            ([1, 2, 3, 1], [], [1], []),
            ([1, 3, 2], [], [], [2]),
            ([3, 2, 1], [], [], [2, 1]),
            ([1, 4, 2, 4, 2], [3], [4, 2], [2]),
        ],
    )
    def test_what_is_missing_doubled_or_late_in_order_is_told_apart(
        self, seqs: list[int], missing: list[int], duplicates: list[int], disordered: list[int]
    ) -> None:
        capture = stream(*((seq, THOUGHT) for seq in seqs))

        assert capture.missing == missing
        assert [event.seq for event in capture.duplicates] == duplicates
        assert [event.seq for event in capture.disordered] == disordered

    def test_an_event_of_another_stream_is_foreign(self, plain: EngineSettings) -> None:
        capture = whose(ada_of(plain), ADA, EVE, "user:ada2", ADA)

        assert [event.seq for event in capture.foreign] == [2, 3]

    def test_a_named_stream_replaces_the_user_s_own(self, plain: EngineSettings) -> None:
        capture = whose(ada_of(plain), ADA, "lot:7")
        capture.stream = "lot:7"

        assert [event.seq for event in capture.foreign] == [1]


class TestAssertUnbroken:
    def test_a_good_stream_passes_from_any_cursor(self) -> None:
        good().assert_unbroken()
        stream(*run_of(STARTED, ENDED, first=8), after=7).assert_unbroken()
        stream().assert_unbroken()

    def test_a_missing_event_is_shown_where_it_should_have_been(self) -> None:
        said = fails(stream((1, STARTED), (2, THOUGHT), (4, DONE)).assert_unbroken)

        assert said == shown(
            """
            the stream is broken:
               expected       got
               1 job_started  1 job_started
               2 job_thought  2 job_thought
            -  3 ?
               4 step_done    4 step_done
            """
        )

    def test_an_event_that_comes_twice_is_shown_as_too_much(self) -> None:
        said = fails(stream((1, STARTED), (2, THOUGHT), (2, THOUGHT), (3, ENDED)).assert_unbroken)

        assert "+                 2 job_thought" in said
        assert "\n-" not in said

    def test_two_that_changed_places_are_shown_at_both_places(self) -> None:
        said = fails(stream((1, STARTED), (3, DONE), (2, BEGUN), (4, ENDED)).assert_unbroken)

        assert len(re.findall(r"^[-+]", said, re.MULTILINE)) == 2
        assert re.findall(r"^[-+] +(.*)$", said, re.MULTILINE) in (
            ["2 step_begun", "2 step_begun"],
            ["3 step_done", "3 step_done"],
        )

    def test_a_stream_that_begins_late_lacks_its_beginning(self) -> None:
        assert "-  1 ?" in fails(stream((2, THOUGHT), (3, ENDED)).assert_unbroken)

    def test_a_stream_that_begins_before_its_cursor_has_too_much(self) -> None:
        said = fails(stream((3, THOUGHT), (4, THOUGHT), after=3).assert_unbroken)

        assert re.search(r"^\+ +3 job_thought$", said, re.MULTILINE)

    def test_what_is_no_event_breaks_a_stream_that_is_whole(self) -> None:
        capture = good()
        capture.capture("noise")

        assert "what came and is no event:\n'noise': Invalid JSON" in fails(capture.assert_unbroken)

    def test_the_middle_of_a_long_stretch_that_agrees_is_left_out(self) -> None:
        capture = stream(*((seq, THOUGHT) for seq in range(1, 101) if seq != 60))

        said = fails(capture.assert_unbroken)

        assert "… 53 alike …" in said
        assert "-  60 ?" in said
        assert len(said.splitlines()) < 20


class TestAssertGrammatical:
    def test_the_five_and_the_least_are_grammatical(self) -> None:
        good().assert_grammatical("run")
        stream(*run_of(STARTED, ENDED)).assert_grammatical("run")

    def test_one_event_of_five_is_not_a_run(self) -> None:
        """A validator that is content with one event of five is content with everything."""
        assert fails(lambda: stream((1, STARTED)).assert_grammatical("run")) == shown(
            """
            not ended: job_ended is missing
              1 job_started
            → (nothing more came)
            """
        )

    def test_a_run_of_which_nothing_came_is_not_a_run(self) -> None:
        assert fails(lambda: good().assert_grammatical("another")) == "no event about another came"

    def test_the_first_event_that_is_out_of_place_is_pointed_at(self) -> None:
        capture = stream(*run_of(STARTED, BEGUN, ENDED, DONE))

        assert fails(lambda: capture.assert_grammatical("run")) == shown(
            """
            job_ended can't follow step_begun: expected step_done
              1 job_started
              2 step_begun
            → 3 job_ended
              4 step_done
            """
        )

    @pytest.mark.parametrize(
        ("kinds", "fault"),
        [
            ([THOUGHT, ENDED], "job_thought can't follow the beginning: expected job_started"),
            ([STARTED, STARTED, ENDED], "job_started can't follow job_started"),
            ([STARTED, BEGUN, THOUGHT, DONE, ENDED], "job_thought can't follow step_begun: expected step_done"),
            ([STARTED, BEGUN, ENDED], "job_ended can't follow step_begun"),
            ([STARTED, ENDED, ENDED], "job_ended can't follow job_ended: expected nothing more"),
            ([STARTED, ENDED, THOUGHT], "job_thought can't follow job_ended: expected nothing more"),
        ],
    )  # fmt: skip
    def test_each_way_to_break_the_grammar_is_named(self, kinds: list[str], fault: str) -> None:
        assert fault in fails(lambda: stream(*run_of(*kinds)).assert_grammatical("run"))


class TestTheOtherAssertions:
    def test_kinds_other_than_expected_are_shown_beside_them(self) -> None:
        said = fails(lambda: stream(*run_of(STARTED, THOUGHT, ENDED)).assert_kinds("run", [STARTED, BEGUN, ENDED]))

        assert said == shown(
            """
            other events than expected:
               expected     got
               job_started  job_started
            -  step_begun
            +               job_thought
               job_ended    job_ended
            """
        )

    def test_counts_other_than_expected_are_shown_beside_them(self) -> None:
        good().assert_counts(dict.fromkeys(THE_FIVE, 1))

        said = fails(lambda: good().assert_counts({STARTED: 1, THOUGHT: 2, ENDED: 1}))

        assert "-  job_thought × 2\n" in said
        assert re.search(r"^\+ +step_begun × 1$", said, re.MULTILINE)

    def test_an_event_of_another_user_is_named_with_its_stream(self, plain: EngineSettings) -> None:
        ada = ada_of(plain)
        whose(ada, ADA).assert_nothing_foreign()

        said = fails(whose(ada, ADA, EVE).assert_nothing_foreign)

        assert said == "1 of 2 events are not ada's:\n2 job_started of user:eve"

    def test_nobody_can_say_what_is_foreign_without_knowing_whose_it_is(self) -> None:
        assert "make the capture with a user" in fails(good().assert_nothing_foreign)

    def test_an_event_that_took_too_long_is_named_with_its_time(self) -> None:
        capture = stream((1, STARTED))
        capture.assert_on_time(5)
        capture.capture(text(2, ENDED, at=long_ago()))

        assert re.fullmatch(r"later than 5 s:\n2 job_ended took \d+\.\d{3} s", fails(lambda: capture.assert_on_time(5)))

    def test_two_sockets_that_were_shown_different_events_are_held_side_by_side(self) -> None:
        one, other = good(), good()
        one.assert_same_as(WebSocketEventCapture(events=list(one.events)))

        other.events[2] = other.events[2].model_copy(update={"payload": {"number": 33}})
        said = fails(lambda: one.assert_same_as(WebSocketEventCapture(events=[*one.events[:2], other.events[2]])))

        assert "two sockets were shown different events" in said
        assert "-  3 step_begun {'number': 33}" in said
        assert "+                               3 step_begun {'number': 3}" in said

    def test_a_difference_of_nothing_is_nothing_but_its_head(self) -> None:
        assert difference([], []) == "   expected  got"
