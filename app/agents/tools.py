"""The tools that agents may call: async functions of JSON arguments, with a docstring for the model.

Add yours to TOOLS.
The scripted model calls a tool by a message's line `!call search_orders {"text": "bread"}`.

A parameter annotated `ToolContext` (app/agents/tool_context.py) is filled by the dispatcher and hidden from the model.
It names the run and its user, and adds events to the run:

    async def search_orders(text: str, context: ToolContext) -> list[str]:
        thought = f"searching the orders of {context.user_id}"
        await context.emit(AgentThinking(run_id=context.run_id, thought=thought))
"""

from __future__ import annotations

from datetime import UTC, datetime


async def count_words(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())


async def current_time() -> str:
    """Return the current time, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


TOOLS = (count_words, current_time)
