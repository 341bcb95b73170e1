"""Models: one answers a message in a turn, through which it reports thoughts and calls tools."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from opentelemetry.trace import SpanKind
from pydantic import JsonValue

from commitstream.service.tracing import tracer

Arguments = Mapping[str, JsonValue]


class ModelError(Exception):
    """The model gave no answer; the message says why, without secrets."""


@dataclass
class ModelCall:
    """One request to a model: the part of the prompt that its run has not sent before, and the result."""

    model: str
    prompt: str
    answer: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    milliseconds: float = 0.0
    error: str | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


class Turn(Protocol):
    """What a model may do while it works on a message; each thought and call becomes an event."""

    async def think(self, thought: str) -> None: ...

    async def call(self, tool: str, arguments: Arguments) -> JsonValue:
        """Call a tool and get its result; raises `ToolError` where the tool failed."""
        ...

    async def record(self, call: ModelCall) -> None:
        """Store a request to the model beside the events; watchers don't get it."""
        ...


class Model(Protocol):
    """Answers messages."""

    name: str

    async def answer(self, message: str, turn: Turn) -> str:
        """Work on a message to the end; raises `ModelError`."""
        ...

    async def close(self) -> None:
        """Close the connections that all answers share."""
        ...


@asynccontextmanager
async def recorded(turn: Turn, model: str, prompt: str) -> AsyncIterator[ModelCall]:
    """Record a request to a model, however it ends; the block fills in the answer."""
    call = ModelCall(model, prompt)
    started = time.monotonic()
    about = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
    with tracer.start_as_current_span(f"chat {model}", kind=SpanKind.CLIENT, attributes=about) as span:
        try:
            yield call
        except BaseException as error:
            call.error = str(error) if isinstance(error, ModelError) else type(error).__name__
            raise
        finally:
            call.milliseconds = round((time.monotonic() - started) * 1000, 1)
            span.set_attribute("gen_ai.usage.input_tokens", call.input_tokens)
            span.set_attribute("gen_ai.usage.output_tokens", call.output_tokens)
            await turn.record(call)
