"""Prompts and answers as text, for the table of model calls."""

from __future__ import annotations

from dataclasses import replace

from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    RetryFeedbackPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_core import to_json


def clean(response: ModelResponse) -> ModelResponse:
    """Return the response without NUL and lone surrogates, which databases refuse."""
    parts = [
        replace(part, content=_clean(part.content)) if isinstance(part, TextPart | ThinkingPart) else part
        for part in response.parts
    ]
    return replace(response, parts=parts)


def prompt(messages: list[ModelMessage]) -> str:
    """Return the last message to the model; earlier ones were recorded with earlier requests."""
    return _clean("\n".join(filter(None, map(_text, messages[-1].parts))))


def answer(response: ModelResponse) -> str:
    """Return what the model said and which tools it called."""
    return _clean("\n".join(filter(None, map(_text, response.parts))))


def _clean(text: str) -> str:
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _text(part: object) -> str:
    match part:
        case UserPromptPart(content=str(content)) | TextPart(content=content) | ThinkingPart(content=content):
            return content
        case ToolCallPart(tool_name=tool):
            return f"{tool}({part.args_as_json_str()})"
        case ToolReturnPart(tool_name=tool):
            return f"{tool}: {part.model_response_str()}"
        case RetryFeedbackPart(content=content):
            return content if isinstance(content, str) else to_json(content, serialize_unknown=True).decode()
    return ""
