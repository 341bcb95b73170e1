"""What arrived on one stream, when, and whether it is what had to: compared with its numbers and its topic's order.

    capture.assert_unbroken()             # every event once, in order, none missing, from the cursor on
    capture.assert_grammatical(run.id)    # one run's events, from agent_started to agent_completed
    capture.counts, capture.missing, capture.duplicates, capture.latencies, …

An assertion that fails shows event by event what was expected and what came.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import JsonValue, ValidationError

from commitstream.envelope import Envelope
from commitstream.topics import USER_TOPIC, Topics
from commitstream.transports.protocol import CloseCode
from test_framework.users import TestUserContext
from test_framework.websocket.difference import difference, disordered, label, unbroken
from test_framework.websocket.line import Closed
from test_framework.websocket.order import topic_of

LONGEST_SHOWN = 200
WORDS = ("ended", "hello", "pong", "subscribed", "token", "unsubscribed")
"""What the server says about a connection or a subscription, besides `live`."""


@dataclass(frozen=True)
class Malformed:
    """What came and was no event, nor a word about the connection."""

    text: str
    reason: str


@dataclass
class WebSocketEventCapture:
    """Collects the events of one stream: `after` is the cursor it began at, `user` who watches it."""

    after: int = 0
    events: list[Envelope] = field(default_factory=list)
    arrivals: list[datetime] = field(default_factory=list)
    said: list[dict[str, JsonValue]] = field(default_factory=list)
    malformed: list[Malformed] = field(default_factory=list)
    user: TestUserContext | None = None
    stream: str = ""
    """The stream that is captured; the user's own unless named."""
    topics: Topics | None = None
    """The topics whose rules hold; the project's unless others are given."""
    ending: Closed | None = None
    """With which code and reason the server has ended the subscription; 1000 where the client asked for it."""
    live_at: int | None = None
    """The number at which the server said that the replay was complete."""
    loses_on_purpose: bool = False
    """The test made the server lose events: they count for no gate."""
    _uninvited: set[int] = field(default_factory=set, repr=False)
    """The places in `events` of those that came while there was no subscription."""

    def capture(self, text: str) -> None:
        """Take a message: an event, several on a line each, or a word about the connection."""
        arrived = datetime.now(UTC)
        for line in text.split("\n"):
            try:
                self.events.append(Envelope.model_validate_json(line))
                self.arrivals.append(arrived)
                if self.ending is not None:
                    self._uninvited.add(len(self.events) - 1)
            except ValidationError as error:
                self._take_no_event(line, error)

    def clear(self) -> None:
        """Forget what came, and go on from there."""
        self.after = self.cursor
        for collected in (self.events, self.arrivals, self.said, self.malformed):
            collected.clear()
        self._uninvited.clear()

    @property
    def cursor(self) -> int:
        return self.events[-1].seq if self.events else self.after

    @property
    def counts(self) -> Counter[str]:
        return Counter(event.type for event in self.events)

    @property
    def runs(self) -> list[str]:
        """The runs that events came of, in the order of their first."""
        return list(dict.fromkeys(event.subject for event in self.events if event.subject is not None))

    @property
    def latencies(self) -> list[float]:
        """Seconds from an event's writing to its arrival; of those that were seen arriving."""
        return [(came - event.at).total_seconds() for event, came in zip(self.events, self.arrivals, strict=False)]

    @property
    def missing(self) -> list[int]:
        """The numbers that were passed over."""
        seen = {event.seq for event in self.events}
        return [seq for seq in range(self.after + 1, max(seen, default=self.after)) if seq not in seen]

    @property
    def duplicates(self) -> list[Envelope]:
        """The events that had come before, under the same number."""
        seen: set[int] = set()
        again = list[Envelope]()
        for event in self.events:
            if event.seq in seen:
                again.append(event)
            seen.add(event.seq)
        return again

    @property
    def disordered(self) -> list[Envelope]:
        """The events that came for the first time after one with a greater number."""
        seen, highest = set[int](), 0
        late = list[Envelope]()
        for event in self.events:
            if event.seq < highest and event.seq not in seen:
                late.append(event)
            seen.add(event.seq)
            highest = max(highest, event.seq)
        return late

    @property
    def foreign(self) -> list[Envelope]:
        """The events that the user may not be shown, where the user is known.

        They are of another stream, of another user's own stream, or came after the server had ended the subscription.
        """
        if self.user is None:
            return []
        stream, own = self.stream or self.user.stream, self.user.stream
        forbidden = stream.startswith(f"{USER_TOPIC}:") and stream != own
        events = enumerate(self.events)
        return [event for place, event in events if forbidden or event.stream != stream or place in self._uninvited]

    @property
    def exposed(self) -> list[tuple[Envelope, list[str]]]:
        """The events with metadata that their topic doesn't show its watchers, and the names of it."""
        topics = [(event, topic_of(event, self.topics)) for event in self.events if event.metadata]
        hidden = [(e, sorted(e.metadata.keys() - t.metadata_shown(e.type))) for e, t in topics if t is not None]
        return [(event, names) for event, names in hidden if names]

    def late(self, seconds: float) -> list[Envelope]:
        """The events that took longer than that from their writing to their arrival."""
        return [event for event, took in zip(self.events, self.latencies, strict=False) if took > seconds]

    def of_run(self, run_id: str | None) -> list[Envelope]:
        return [event for event in self.events if event.subject == run_id]

    def of_kind(self, kind: str) -> list[Envelope]:
        return [event for event in self.events if event.type == kind]

    def kinds(self, run_id: str) -> list[str]:
        return [event.type for event in self.of_run(run_id)]

    def assert_unbroken(self) -> None:
        """Every event once, in order, none missing and nothing malformed, from the cursor on."""
        self.assert_well_formed()
        if broken := unbroken(self.events, self.after):
            raise AssertionError(broken)

    def assert_well_formed(self) -> None:
        """Nothing came but events and words about the connection."""
        lines = [f"{fault.text!r}: {fault.reason}" for fault in self.malformed]
        assert not lines, "\n".join(["what came and is no event:", *lines])

    def assert_grammatical(self, run_id: str) -> None:
        """The events about a subject keep the order of their topic, to the end."""
        events = self.of_run(run_id)
        assert events, f"no event about {run_id} came"
        if fault := disordered(events, self.topics):
            raise AssertionError(fault)

    def assert_kinds(self, run_id: str, expected: Sequence[str]) -> None:
        """The run had just these types of event, in this order."""
        got = self.kinds(run_id)
        assert got == list(expected), f"other events than expected:\n{difference(expected, got)}"

    def assert_counts(self, expected: Mapping[str, int]) -> None:
        """So many events of each type came, and of no other."""
        types = sorted(self.counts.keys() | expected.keys())
        wanted = [f"{name} × {expected.get(name, 0)}" for name in types]
        got = [f"{name} × {self.counts[name]}" for name in types]
        assert wanted == got, f"other counts than expected:\n{difference(wanted, got)}"

    def assert_nothing_foreign(self) -> None:
        """Nothing came that the user may not be shown: no event, and no metadata."""
        assert self.user is not None, "whose events these have to be is not known: make the capture with a user"
        lines = [f"{label(event)} of {event.stream}" for event in self.foreign]
        lines += [f"{label(event)} of {event.stream} with {', '.join(names)}" for event, names in self.exposed]
        assert not lines, "\n".join([f"{len(lines)} of {len(self.events)} events are not {self.user.id}'s:", *lines])

    def assert_on_time(self, seconds: float) -> None:
        """Every event arrived within so long of its writing."""
        pairs = zip(self.events, self.latencies, strict=False)
        lines = [f"{label(event)} took {took:.3f} s" for event, took in pairs if took > seconds]
        assert not lines, "\n".join([f"later than {seconds:g} s:", *lines])

    def assert_same_as(self, other: WebSocketEventCapture) -> None:
        """Another socket was shown the very same events."""
        if self.events != other.events:
            theirs, ours = ([f"{label(e)} {e.payload}" for e in capture.events] for capture in (other, self))
            raise AssertionError(f"two sockets were shown different events:\n{difference(theirs, ours)}")

    def _take_no_event(self, line: str, error: ValidationError) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        word = message.get("type") if isinstance(message, dict) and "seq" not in message else None
        if word == "live":
            self.live_at = message["cursor"]
            return
        if word in WORDS:
            self.said.append(message)
            if word == "subscribed":
                self.ending = None
            elif word == "unsubscribed":
                self.ending = Closed(1000, word)
            elif word == "ended" and message["code"] != CloseCode.ALREADY_SUBSCRIBED:
                self.ending = Closed(message["code"], message["reason"])
            return
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        self.malformed.append(Malformed(line[:LONGEST_SHOWN], f"{where}: {fault['msg']}".removeprefix(": ")))
