"""Calls tools, and announces every call: `tool_executing` before, `tool_completed` after, whatever happens between."""

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

from app.agents.models import Arguments
from app.events.kinds import EventKind

Tool = Callable[..., Awaitable[JsonValue]]
Announce = Callable[[EventKind, dict[str, JsonValue]], Awaitable[None]]

TOOL_SECONDS = 30.0


class ToolError(Exception):
    """A tool that is unknown, was called wrongly, raised, or took too long."""


class UninstrumentedDispatcher(Exception):
    """A dispatcher whose tool calls nobody would see."""


class Dispatcher(Protocol):
    async def call(self, tool: str, arguments: Arguments, announce: Announce) -> JsonValue: ...


class ToolDispatcher:
    def __init__(self, tools: Iterable[Tool], *, seconds: float = TOOL_SECONDS) -> None:
        self.tools: dict[str, Tool] = {tool.__name__: tool for tool in tools}
        self._arguments = {name: arguments_of(tool) for name, tool in self.tools.items()}
        self._seconds = seconds

    async def call(self, tool: str, arguments: Arguments, announce: Announce) -> JsonValue:
        """Call a tool by name; raises `ToolError` once its end is announced."""
        await announce(EventKind.TOOL_EXECUTING, {"tool": tool, "arguments": dict(arguments)})
        started = time.monotonic()
        outcome: dict[str, JsonValue] = {"status": "cancelled"}
        try:
            result = await self._execute(tool, arguments)
            outcome = {"status": "ok", "result": result}
        except ToolError as error:
            outcome = {"status": "failed", "error": str(error)}
            raise
        finally:
            outcome |= {"tool": tool, "milliseconds": round((time.monotonic() - started) * 1000, 1)}
            await announce(EventKind.TOOL_COMPLETED, outcome)
        return result

    async def _execute(self, name: str, arguments: Arguments) -> JsonValue:
        tool = self.tools.get(name)
        if tool is None:
            raise ToolError(f"there is no tool {name!r}; there are {', '.join(sorted(self.tools))}")
        try:
            fitting = self._arguments[name].validate_python(arguments)
        except ValidationError as invalid:
            raise ToolError(f"{name} can't be called so: {_faults(invalid)}") from None
        try:
            async with asyncio.timeout(self._seconds):
                return _json(await tool(**fitting))
        except TimeoutError:
            raise ToolError(f"{name} took longer than {self._seconds:g} s") from None
        except Exception as error:
            raise ToolError(f"{name} raised {type(error).__name__}: {error}") from error


def arguments_of(tool: Tool) -> TypeAdapter[dict[str, Any]]:
    """What a tool may be called with, read off its signature: types, which must be given, and no others."""
    hints = get_type_hints(tool, include_extras=True)
    fields: dict[str, Any] = {}
    extra: Literal["allow", "forbid"] = "forbid"
    for name, parameter in inspect.signature(tool).parameters.items():
        if parameter.kind is Parameter.VAR_KEYWORD:
            extra = "allow"
        elif parameter.kind is not Parameter.VAR_POSITIONAL:
            wanted = hints.get(name, Any)
            fields[name] = wanted if parameter.default is Parameter.empty else NotRequired[wanted]
    make: Any = TypedDict  # whose names and types are written out, as far as a type checker knows
    shape = make(tool.__name__, fields)
    shape.__pydantic_config__ = ConfigDict(extra=extra)
    return TypeAdapter(shape)


def _faults(invalid: ValidationError) -> str:
    faults = invalid.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}" for fault in faults)


def _json(value: object) -> JsonValue:
    plain: JsonValue = to_jsonable_python(value)
    return plain


async def demand_instrumented(dispatcher: Dispatcher) -> None:
    """Call a tool that isn't there, and refuse a dispatcher that doesn't announce both the call and its end."""
    heard: list[EventKind] = []

    async def listen(kind: EventKind, payload: dict[str, JsonValue]) -> None:
        heard.append(kind)

    with contextlib.suppress(ToolError):
        await dispatcher.call("is anybody listening?", {}, listen)
    if heard != [EventKind.TOOL_EXECUTING, EventKind.TOOL_COMPLETED]:
        raise UninstrumentedDispatcher(
            f"{type(dispatcher).__name__} announced {[str(kind) for kind in heard] or 'nothing'} for a tool call: "
            "it must announce tool_executing and tool_completed for every call, failed ones too"
        )
