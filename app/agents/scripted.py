"""A deterministic model without an endpoint: it runs the script in a message.

A line that begins with `!` is an instruction: `!think why`, `!call tool {"json": "arguments"}`, `!stall 2.5` or
`!fail reason`. For a message without any, the model thinks, counts its words with a tool, and answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pydantic import JsonValue
from pydantic_core import from_json

from app.agents.dispatcher import ToolError
from app.agents.model import ModelError, Turn, recorded

LONGEST_STALL = 3600.0


class ScriptedModel:
    """Runs the script in each message."""

    name = "scripted"

    async def answer(self, message: str, turn: Turn) -> str:
        async with recorded(turn, self.name, message) as call:
            call.input_tokens = len(message.split())
            call.answer = await _perform(message, turn)
            call.output_tokens = len(call.answer.split())
        return call.answer

    async def close(self) -> None:
        """Do nothing: there are no connections."""


async def _perform(message: str, turn: Turn) -> str:
    script = [line[1:] for line in message.splitlines() if line.startswith("!")]
    if not script:
        return await _think_and_measure(message, turn)
    for line in script:
        instruction, _, rest = line.partition(" ")
        if instruction not in _INSTRUCTIONS:
            raise ModelError(
                f"no instruction !{instruction}: there are {', '.join('!' + name for name in _INSTRUCTIONS)}"
            )
        await _INSTRUCTIONS[instruction](rest.strip(), turn)
    return f"The script of {len(script)} lines is done."


async def _think_and_measure(message: str, turn: Turn) -> str:
    await turn.think("How long is this message?")
    try:
        words = await turn.call("count_words", {"text": message})
    except ToolError as error:
        return f"The words of your message were not counted: {error}"
    return f"Your message has {words} words."


async def _think(thought: str, turn: Turn) -> None:
    await turn.think(thought)


async def _call(rest: str, turn: Turn) -> None:
    tool, _, arguments = rest.partition(" ")
    try:
        await turn.call(tool, _object(arguments or "{}"))
    except ToolError as error:
        await turn.think(f"{tool} failed: {error}")


async def _stall(seconds: str, turn: Turn) -> None:
    try:
        await asyncio.sleep(min(float(seconds), LONGEST_STALL))
    except ValueError:
        raise ModelError(f"!stall takes seconds, as in !stall 2.5, not {seconds!r}") from None


async def _fail(reason: str, turn: Turn) -> None:
    raise ModelError(reason or "the script failed")


def _object(text: str) -> dict[str, JsonValue]:
    try:
        value = from_json(text)
    except ValueError as error:
        raise ModelError(f"!call takes a JSON object after the tool's name: {error}") from None
    if not isinstance(value, dict):
        raise ModelError(f"!call takes a JSON object after the tool's name, not {text!r}")
    return value


_INSTRUCTIONS: dict[str, Callable[[str, Turn], Awaitable[None]]] = {
    "think": _think,
    "call": _call,
    "stall": _stall,
    "fail": _fail,
}
