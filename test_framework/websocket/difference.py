"""Two streams of events side by side, each line marked where they part: what a failed assertion shows."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from commitstream.envelope import Envelope
from commitstream.topics import Topics
from test_framework.websocket.order import first_fault, missing_end

ALIKE_AT_MOST = 6
WIDEST = 40


def difference(expected: Sequence[str], got: Sequence[str]) -> str:
    """Show event by event what was expected and what came: `-` is missing, `+` came instead, the rest agrees."""
    rows: list[tuple[str, str, str]] = []
    for what, left, left_end, right, right_end in SequenceMatcher(None, expected, got, autojunk=False).get_opcodes():
        if what == "equal":
            rows += _shortened([("", line, line) for line in expected[left:left_end]])
        else:
            rows += [("-", line, "") for line in expected[left:left_end]]
            rows += [("+", "", line) for line in got[right:right_end]]
    width = min(max([len(line) for _, line, _ in rows] + [len("expected")]), WIDEST)
    lines = [f"{mark:<2} {line:<{width}}  {came}".rstrip() for mark, line, came in rows]
    return "\n".join([f"   {'expected':<{width}}  got", *lines])


def unbroken(events: Sequence[Envelope], after: int) -> str:
    """Why a stream is not every event once and in order from a cursor on; empty where it is."""
    seqs = [event.seq for event in events]
    expected = range(after + 1, max(seqs, default=after) + 1)
    if seqs == list(expected):
        return ""
    labels = {event.seq: label(event) for event in events}
    wanted = [labels.get(seq, f"{seq} ?") for seq in expected]
    return f"the stream is broken:\n{difference(wanted, [label(event) for event in events])}"


def disordered(events: Sequence[Envelope], topics: Topics | None = None) -> str:
    """Say why the events about one subject are not all that its order wants, to the end; empty where they are."""
    if (fault := first_fault(events, topics)) is not None:
        place, why = fault
        return f"{why}\n{_pointed_at(events, place)}"
    if ending := missing_end(events, topics):
        return f"not ended: {ending} is missing\n{_pointed_at(events, len(events))}"
    return ""


def label(event: Envelope) -> str:
    return f"{event.seq} {event.type}"


def _pointed_at(events: Sequence[Envelope], place: int) -> str:
    lines = [f"{'→' if n == place else ' '} {label(event)}" for n, event in enumerate(events)]
    return "\n".join(lines if place < len(events) else [*lines, "→ (nothing more came)"])


def _shortened(rows: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Leave out the middle of a long stretch that agrees."""
    if len(rows) <= ALIKE_AT_MOST:
        return rows
    around = ALIKE_AT_MOST // 2
    return [*rows[:around], ("", f"… {len(rows) - 2 * around} alike …", ""), *rows[-around:]]
