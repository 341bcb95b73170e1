"""What arrived at a socket, when, and whether it is what had to: the truth is held against the grammar and the sequence."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.events.envelope import Envelope
from app.events.kinds import EventKind, Grammar, GrammarError


@dataclass
class WebSocketEventCapture:
    """Collects the events of one socket; `after` is the cursor it began at."""

    after: int = 0
    events: list[Envelope] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)

    def capture(self, text: str) -> None:
        """Take a message of one or several events."""
        for line in text.split("\n"):
            self.events.append(Envelope.model_validate_json(line))
            self.arrivals.append(time.monotonic())

    @property
    def cursor(self) -> int:
        return self.events[-1].seq if self.events else self.after

    @property
    def counts(self) -> Counter[EventKind]:
        return Counter(event.kind for event in self.events)

    def of_run(self, run_id: str) -> list[Envelope]:
        return [event for event in self.events if event.run_id == run_id]

    def kinds(self, run_id: str) -> list[EventKind]:
        return [event.kind for event in self.of_run(run_id)]

    def assert_unbroken(self) -> None:
        """Every event once, in order, none missing, from the cursor on."""
        got = [event.seq for event in self.events]
        expected = list(range(self.after + 1, self.after + 1 + len(got)))
        assert got == expected, f"the stream is broken:\n{difference(expected, got)}"

    def assert_grammatical(self, run_id: str) -> None:
        """The run's events obey the grammar, to the end."""
        grammar = Grammar()
        kinds = self.kinds(run_id)
        try:
            for kind in kinds:
                grammar.accept(kind)
        except GrammarError as error:
            raise AssertionError(f"{error}, in {[str(kind) for kind in kinds]}") from None
        assert grammar.complete, f"the run did not end; its events: {[str(kind) for kind in kinds]}"

    def assert_kinds(self, run_id: str, expected: Sequence[EventKind]) -> None:
        """The run had just these kinds of event, in this order."""
        got = self.kinds(run_id)
        assert got == list(expected), f"other events than expected:\n{difference(expected, got)}"


def difference(expected: Sequence[object], got: Sequence[object]) -> str:
    """Show two sequences side by side, each line marked where they part."""
    lines = []
    for place in range(max(len(expected), len(got))):
        wanted = str(expected[place]) if place < len(expected) else "–"
        came = str(got[place]) if place < len(got) else "–"
        lines.append(f"{'  ' if wanted == came else '→ '}{wanted:<20} {came}")
    return "\n".join([f"  {'expected':<20} got", *lines])
