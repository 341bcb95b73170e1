"""The context of a tool call: a parameter `ToolContext`, which the dispatcher fills and no model sees."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, get_type_hints

from pydantic import JsonValue

from app.agents.events import (
    RUN_ORDER,
    AgentCompleted,
    AgentStarted,
    RunEvent,
    ToolCompleted,
    ToolExecuting,
)
from commitstream.topics import OrderError

Tool = Callable[..., Awaitable[JsonValue]]

RUNNER_EVENTS = frozenset(kind.event_type for kind in (AgentStarted, ToolExecuting, ToolCompleted, AgentCompleted))


@dataclass(frozen=True)
class Caller:
    """The run that a tool is called in, and its user."""

    user_id: str
    run_id: str


class ToolContext:
    """One call of a tool."""

    def __init__(self, caller: Caller) -> None:
        self.user_id = caller.user_id
        self.run_id = caller.run_id
        self._emitted: list[RunEvent] = []
        self._open = True

    async def emit(self, event: RunEvent) -> None:
        """Add an event to the run, right after the `tool_completed` of this call.

        It is written also if the tool fails, but not if its run is cancelled.

        Raises:
            OrderError: The event can't come there, or only the runner may write it.
            RuntimeError: The call has ended.
        """
        if not self._open:
            raise RuntimeError(f"the call of this tool in run {self.run_id} has ended: emit events before it returns")
        last = self._emitted[-1].event_type if self._emitted else ToolCompleted.event_type
        followers = RUN_ORDER.transitions[last]
        if event.event_type in RUNNER_EVENTS or event.event_type not in followers:
            allowed = ", ".join(sorted(followers - RUNNER_EVENTS)) or "none"
            raise OrderError(f"a tool can't emit {event.event_type} after {last}: it can emit {allowed}")
        self._emitted.append(event)

    def close(self) -> list[RunEvent]:
        """End the call, and return the events that it emitted."""
        self._open = False
        return self._emitted


def context_parameters(tool: Tool) -> frozenset[str]:
    """Name the parameters of a tool that the dispatcher fills."""
    hints = get_type_hints(tool)
    return frozenset(name for name in inspect.signature(tool).parameters if hints.get(name) is ToolContext)


def as_models_see_it(tool: Tool) -> Tool:
    """Return a function like the tool, without the parameters that the dispatcher fills."""
    hidden = context_parameters(tool)
    if not hidden:
        return tool

    @wraps(tool)
    async def shown(**arguments: Any) -> JsonValue:
        raise TypeError(f"{tool.__name__} needs a ToolContext: call it through the dispatcher")

    signature = inspect.signature(tool)
    kept = [parameter for name, parameter in signature.parameters.items() if name not in hidden]
    shown.__annotations__ = {name: hint for name, hint in tool.__annotations__.items() if name not in hidden}
    shown.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    return shown
