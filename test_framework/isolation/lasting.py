"""What outlives a test belongs to the fixture that keeps it: it is begun in that fixture's context, whichever test is at work by then.

So whoever watches what tests leave behind can tell a connection that is kept on purpose from one that a test has forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, TypeVar

Result = TypeVar("Result")


class Lasting:
    """Remembers the context in which it was made."""

    def __init__(self) -> None:
        self._context = copy_context()

    async def __call__(
        self, work: Coroutine[Any, Any, Result], undo: Callable[[Result], object] | None = None
    ) -> Result:
        """Do some work in that context, and wait for it; undo it where whoever waited is cancelled when it is done already."""
        task = asyncio.create_task(work, context=self._context)
        try:
            return await task
        except asyncio.CancelledError:
            if undo is not None and task.done() and not task.cancelled() and task.exception() is None:
                undo(task.result())
            raise
