"""The events of a run, and their order.

    agent_started (agent_thinking | tool_executing tool_completed)* agent_completed

They are written to the stream of the user who started the run. Failure, cancellation and interruption end in
`agent_completed` too; its status says so.
"""

from __future__ import annotations

from pydantic import JsonValue

from commitstream.events import Event
from commitstream.topics import Order, users


class RunEvent(Event, subject="run_id"):
    """An event of one run."""

    run_id: str

    def payload(self) -> dict[str, JsonValue]:
        return self.model_dump(mode="json", exclude={"run_id"}, exclude_unset=True)


class AgentStarted(RunEvent):
    message: str


class AgentThinking(RunEvent):
    thought: str


class ToolExecuting(RunEvent):
    tool: str
    arguments: dict[str, JsonValue]


class ToolCompleted(RunEvent):
    status: str
    tool: str = ""
    milliseconds: float = 0.0
    result: JsonValue = None
    error: str = ""


class AgentCompleted(RunEvent):
    status: str
    answer: str = ""
    error: str = ""


_MIDDLE = (AgentThinking, ToolExecuting, AgentCompleted)

RUN_ORDER = Order(
    first=[AgentStarted],
    follows={
        AgentStarted: _MIDDLE,
        AgentThinking: _MIDDLE,
        ToolExecuting: [ToolCompleted],
        ToolCompleted: _MIDDLE,
        AgentCompleted: [],
    },
)

RUN_EVENTS: tuple[type[RunEvent], ...] = (
    AgentStarted,
    AgentThinking,
    ToolExecuting,
    ToolCompleted,
    AgentCompleted,
)

TOPICS = (users(events=RUN_EVENTS, order=RUN_ORDER),)
