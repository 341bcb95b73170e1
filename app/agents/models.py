"""What thinks: a model answers a message in a turn, through which it may think aloud and call tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pydantic import JsonValue

Arguments = Mapping[str, JsonValue]


class ModelError(Exception):
    """The model gave no answer; the message says why, without secrets."""


class Turn(Protocol):
    """What a model may do while it works on a message; every act of it is an event."""

    async def think(self, thought: str) -> None: ...

    async def call(self, tool: str, arguments: Arguments) -> JsonValue:
        """Call a tool and get its result; raises `ToolError` where the tool failed."""
        ...


class Model(Protocol):
    name: str

    async def answer(self, message: str, turn: Turn) -> str:
        """Work on a message to the end; raises `ModelError`."""
        ...
