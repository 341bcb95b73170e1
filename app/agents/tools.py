"""The tools that agents may call. Add yours: an async function of JSON arguments, with a docstring for the model."""

from __future__ import annotations

from datetime import UTC, datetime


async def count_words(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())


async def current_time() -> str:
    """Tell the time, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


TOOLS = (count_words, current_time)
