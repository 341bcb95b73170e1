"""The ways a run can go: what is asked, which events come of it, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from app.agents.events import AgentCompleted, AgentStarted, AgentThinking, ToolCompleted, ToolExecuting
from commitstream.envelope import Envelope

THE_TYPES = (AgentStarted, AgentThinking, ToolExecuting, ToolCompleted, AgentCompleted)
STARTED, THINKING, EXECUTING, COMPLETED, ENDED = (kind.event_type for kind in THE_TYPES)
CALL = (EXECUTING, COMPLETED)
THE_FIVE = (STARTED, THINKING, *CALL, ENDED)

Payload = Mapping[str, JsonValue]


@dataclass(frozen=True, eq=False)
class Way:
    """One way: the message, the kinds between the first event and the last, and what some of the payloads hold."""

    message: str
    between: Sequence[str] = ()
    ending: Payload = field(default_factory=lambda: {"status": "completed"})
    calls: Sequence[Payload] = ()

    @property
    def kinds(self) -> list[str]:
        return [STARTED, *self.between, ENDED]

    def assert_told_by(self, events: Sequence[Envelope]) -> None:
        """The events are of this way, and their payloads say what happened."""
        assert [event.type for event in events] == self.kinds
        assert events[0].payload == {"message": self.message}
        completed = [event.payload for event in events if event.type == COMPLETED]
        assert len(completed) == len(self.calls)
        for came, expected in zip([*completed, events[-1].payload], [*self.calls, self.ending], strict=True):
            assert fits(came, expected), f"{came} lacks some of {expected}"


def fits(came: Payload, expected: Payload) -> bool:
    """Whether a payload holds what is expected; of an error, its beginning."""
    begun = {**expected, "error": came["error"]} if _begins(came.get("error"), expected.get("error")) else expected
    return {**came, **begun} == came


def _begins(came: JsonValue, expected: JsonValue) -> bool:
    return isinstance(came, str) and isinstance(expected, str) and came.startswith(expected)


def failed(error: str) -> Payload:
    return {"status": "failed", "error": error}


def ok(tool: str, result: JsonValue) -> Payload:
    return {"status": "ok", "tool": tool, "result": result}


UNKNOWN = failed("there is no tool 'no_such_tool'; there are count_words, current_time")

WAYS: dict[str, Way] = {
    "a message is thought about, measured and answered": Way(
        "how many words are these",
        [THINKING, *CALL],
        {"status": "completed", "answer": "Your message has 5 words."},
        [ok("count_words", 5)],
    ),
    "nothing is done": Way("!stall 0", ending={"status": "completed", "answer": "The script of 1 lines is done."}),
    "there is thought and no tool": Way("!think first\n!think then", [THINKING, THINKING]),
    "there is a tool and no thought": Way(
        '!call count_words {"text": "a b c"}', CALL, calls=[ok("count_words", 3)]
    ),
    "a tool without arguments is called": Way("!call current_time", CALL, calls=[{"status": "ok", "tool": "current_time"}]),
    "many tools are called": Way(
        "\n".join(f'!call count_words {{"text": "{"word " * n}"}}' for n in range(12)),
        CALL * 12,
        calls=[ok("count_words", n) for n in range(12)],
    ),
    "the very same call is made twice": Way(
        '!call count_words {"text": "a"}\n!call count_words {"text": "a"}', CALL * 2, calls=[ok("count_words", 1)] * 2
    ),
    "thoughts and calls take turns": Way(
        "!think one\n!call current_time\n!think two\n!call current_time\n!think three",
        [THINKING, *CALL, THINKING, *CALL, THINKING],
        calls=[{"status": "ok"}] * 2,
    ),
    "a thought is empty": Way("!think", [THINKING]),
    "a tool is given a thing of the wrong kind": Way(
        '!call count_words {"text": 5}',
        [*CALL, THINKING],
        calls=[failed("invalid arguments for tool count_words: ")],
    ),
    "a tool is not there": Way("!call no_such_tool {}", [*CALL, THINKING], calls=[UNKNOWN]),
    "a tool is not given what it needs": Way(
        "!call count_words {}",
        [*CALL, THINKING],
        calls=[failed("invalid arguments for tool count_words: ")],
    ),
    "a tool is given what it does not know": Way(
        '!call current_time {"zone": "CET"}',
        [*CALL, THINKING],
        calls=[failed("invalid arguments for tool current_time: ")],
    ),
    "a tool fails and the next one works": Way(
        '!call no_such_tool {}\n!call count_words {"text": "a b"}',
        [*CALL, THINKING, *CALL],
        calls=[UNKNOWN, ok("count_words", 2)],
    ),
    "the model fails at once": Way("!fail out of ideas", ending=failed("out of ideas")),
    "the model fails without a reason": Way("!fail", ending=failed("the script failed")),
    "the model fails after a thought": Way("!think hm\n!fail no", [THINKING], failed("no")),
    "the model fails after a call": Way("!call current_time\n!fail no", CALL, failed("no"), [{"status": "ok"}]),
    "the model fails after a call that failed": Way(
        "!call no_such_tool\n!fail no", [*CALL, THINKING], failed("no"), [UNKNOWN]
    ),
    "the model fails and would have gone on": Way("!fail no\n!think never", ending=failed("no")),
    "an instruction is not known": Way(
        "!dream", ending=failed("no instruction !dream: there are !think, !call, !stall, !fail")
    ),
    "arguments are no object": Way(
        "!call count_words [1]",
        ending=failed("!call takes a JSON object after the tool's name, not '[1]'"),
    ),
    "a pause is no number": Way(
        "!think hm\n!stall long", [THINKING], failed("!stall takes seconds, as in !stall 2.5, not 'long'")
    ),
    "a script stands among other lines": Way("please\n!think of it\nthank you", [THINKING]),
    "lines end as on Windows": Way("!think one\r\n!think two", [THINKING, THINKING]),
    "what looks like a script is indented": Way(
        " !fail no", [THINKING, *CALL], {"answer": "Your message has 2 words."}, [ok("count_words", 2)]
    ),
    "a call comes after a pause": Way("!stall 0.02\n!call current_time", CALL, calls=[{"status": "ok"}]),
}  # fmt: skip
