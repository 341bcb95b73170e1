"""The five events of a run, and the grammar they obey.

    agent_started (agent_thinking | tool_executing tool_completed)* agent_completed

Failure, cancellation and interruption end in `agent_completed` too; its status says so. The turn of a run checks each
event against the grammar before it is written, and the tests read the same table; `Journal.log_event` checks nothing.
"""

from __future__ import annotations

from enum import StrEnum


class EventKind(StrEnum):
    AGENT_STARTED = "agent_started"
    AGENT_THINKING = "agent_thinking"
    TOOL_EXECUTING = "tool_executing"
    TOOL_COMPLETED = "tool_completed"
    AGENT_COMPLETED = "agent_completed"


_MIDDLE = frozenset({EventKind.AGENT_THINKING, EventKind.TOOL_EXECUTING, EventKind.AGENT_COMPLETED})

FOLLOWERS: dict[EventKind | None, frozenset[EventKind]] = {
    None: frozenset({EventKind.AGENT_STARTED}),
    EventKind.AGENT_STARTED: _MIDDLE,
    EventKind.AGENT_THINKING: _MIDDLE,
    EventKind.TOOL_EXECUTING: frozenset({EventKind.TOOL_COMPLETED}),
    EventKind.TOOL_COMPLETED: _MIDDLE,
    EventKind.AGENT_COMPLETED: frozenset(),
}


class GrammarError(ValueError):
    """An event where the grammar of a run allows none of its kind."""


class Grammar:
    """Follows one run, event by event."""

    def __init__(self, last: EventKind | None = None) -> None:
        self.last = last

    @property
    def complete(self) -> bool:
        return self.last is EventKind.AGENT_COMPLETED

    def accept(self, kind: EventKind) -> None:
        """Take the next event, or refuse it."""
        allowed = FOLLOWERS[self.last]
        if kind not in allowed:
            expected = " or ".join(sorted(allowed)) or "nothing more"
            raise GrammarError(f"{kind} can't follow {self.last or 'the beginning'}: expected {expected}")
        self.last = kind
