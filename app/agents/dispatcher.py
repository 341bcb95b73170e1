"""Calls tools; announces `tool_executing` before each call and `tool_completed` after it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Awaitable, Callable, Iterable
from inspect import Parameter
from typing import Any, Literal, NotRequired, Protocol, get_type_hints

from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python
from typing_extensions import TypedDict

from app.agents.events import RunEvent, ToolCompleted, ToolExecuting
from app.agents.model import Arguments
from app.agents.tool_context import Caller, Tool, ToolContext, as_models_see_it, context_parameters

Announce = Callable[[RunEvent], Awaitable[None]]

TOOL_SECONDS = 30.0


class ToolError(Exception):
    """A tool is unknown, was called with wrong arguments, raised, or timed out."""


class UninstrumentedDispatcher(Exception):
    """A dispatcher that does not announce its tool calls."""


class Dispatcher(Protocol):
    async def call(self, tool: str, arguments: Arguments, announce: Announce, caller: Caller) -> JsonValue: ...


class ToolDispatcher:
    def __init__(self, tools: Iterable[Tool], *, timeout: float = TOOL_SECONDS) -> None:
        self.tools: dict[str, Tool] = {tool.__name__: tool for tool in tools}
        self._arguments = {name: arguments_of(tool) for name, tool in self.tools.items()}
        self._contexts = {name: context_parameters(tool) for name, tool in self.tools.items()}
        self._timeout = timeout

    async def call(self, tool: str, arguments: Arguments, announce: Announce, caller: Caller) -> JsonValue:
        """Call a tool by name; raises `ToolError` once its end is announced."""
        context = ToolContext(caller)
        await announce(ToolExecuting(run_id=caller.run_id, tool=tool, arguments=dict(arguments)))
        started = time.monotonic()
        outcome: dict[str, JsonValue] = {"status": "cancelled"}
        try:
            result = await self._execute(tool, arguments, context)
            outcome = {"status": "ok", "result": result}
        except ToolError as error:
            outcome = {"status": "failed", "error": str(error)}
            raise
        finally:
            outcome |= {"tool": tool, "milliseconds": round((time.monotonic() - started) * 1000, 1)}
            emitted = context.close()
            await announce(ToolCompleted.model_validate({"run_id": caller.run_id, **outcome}))
            if outcome["status"] != "cancelled":  # a cancelled run takes no more events
                for event in emitted:
                    await announce(event)
        return result

    async def _execute(self, name: str, arguments: Arguments, context: ToolContext) -> JsonValue:
        tool = self.tools.get(name)
        if tool is None:
            raise ToolError(f"there is no tool {name!r}; there are {', '.join(sorted(self.tools))}")
        filled = self._contexts[name]
        if given := filled & arguments.keys():
            raise ToolError(f"invalid arguments for tool {name}: {', '.join(sorted(given))} is not an argument")
        try:
            fitting = self._arguments[name].validate_python(arguments) | dict.fromkeys(filled, context)
        except ValidationError as invalid:
            raise ToolError(f"invalid arguments for tool {name}: {_faults(invalid)}") from None
        try:
            async with asyncio.timeout(self._timeout):
                return _json(await tool(**fitting))
        except TimeoutError:
            raise ToolError(f"{name} took longer than {self._timeout:g} s") from None
        except Exception as error:
            raise ToolError(f"{name} raised {type(error).__name__}: {error}") from error


def arguments_of(tool: Tool) -> TypeAdapter[dict[str, Any]]:
    """Return a validator of a tool's arguments, made from its signature."""
    hints = get_type_hints(tool, include_extras=True)
    fields: dict[str, Any] = {}
    extra: Literal["allow", "forbid"] = "forbid"
    for name, parameter in inspect.signature(as_models_see_it(tool)).parameters.items():
        if parameter.kind is Parameter.VAR_KEYWORD:
            extra = "allow"
        elif parameter.kind is not Parameter.VAR_POSITIONAL:
            wanted = hints.get(name, Any)
            fields[name] = wanted if parameter.default is Parameter.empty else NotRequired[wanted]
    make: Any = TypedDict  # for type checkers, a TypedDict has literal names
    shape = make(tool.__name__, fields)
    shape.__pydantic_config__ = ConfigDict(extra=extra)
    return TypeAdapter(shape)


def _faults(invalid: ValidationError) -> str:
    faults = invalid.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}" for fault in faults)


def _json(value: object) -> JsonValue:
    plain: JsonValue = to_jsonable_python(value)
    return plain


async def require_event_emission(dispatcher: Dispatcher) -> None:
    """Call an unknown tool, and raise unless the dispatcher announces both the call and its end."""
    announced: list[str] = []

    async def announce(event: RunEvent) -> None:
        announced.append(event.event_type)

    with contextlib.suppress(ToolError):
        await dispatcher.call("no such tool", {}, announce, Caller("", ""))
    if announced != [ToolExecuting.event_type, ToolCompleted.event_type]:
        raise UninstrumentedDispatcher(
            f"{type(dispatcher).__name__} announced {announced or 'nothing'} for a tool call: "
            "it must announce tool_executing and tool_completed for every call, failed ones too"
        )
