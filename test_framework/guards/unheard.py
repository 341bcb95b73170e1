"""An exception in a task that no code awaits is only logged, and only when the task is collected: here it fails the test.

It is taken where asyncio reports it, so that neither a disabled logger nor a replaced exception handler hides it.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from test_framework.guards.timeouts import TimeIsUp

NEVER_RETRIEVED = "exception was never retrieved"
OF_A_LIBRARY = {
    "unexpected connection_lost() call": "asyncpg, where a task is cancelled that has just connected and not yet spoken",
}


class UnheardError(AssertionError):
    """Something failed in the background of a test, and nothing that was asserted would have shown it."""


class Ear:
    """Keeps what asyncio reports of failed tasks and futures."""

    def __init__(self) -> None:
        self._failures: list[tuple[str, BaseException | None]] = []

    def note(self, context: Mapping[str, Any]) -> None:
        """Keep a report of an exception that was never retrieved."""
        message, error = str(context.get("message", "")), context.get("exception")
        known = isinstance(error, TimeIsUp)  # its test has failed for that
        of = context.get("task") or context.get("future")
        said = f"{message}\nfuture: {of!r}"
        if NEVER_RETRIEVED in message and not known and not _of_a_library(said):
            self._failures.append((said, error))

    def demand_silence(self) -> None:
        """Raise what was reported since the last time."""
        failures, self._failures = self._failures, []
        if failures:
            said = "\n".join(each for each, _ in failures)
            error = next((error for _, error in failures if error is not None), None)
            raise UnheardError(f"failed in the background, where no code awaits it: {said}") from error


def _of_a_library(message: str) -> bool:
    return any(words in message for words in OF_A_LIBRARY)


@contextmanager
def listening() -> Iterator[Ear]:
    """Note what asyncio reports until the block ends."""
    ear = Ear()
    report = asyncio.BaseEventLoop.call_exception_handler

    @functools.wraps(report)
    def note_and_report(loop: asyncio.BaseEventLoop, context: dict[str, Any]) -> None:
        ear.note(context)
        report(loop, context)

    asyncio.BaseEventLoop.call_exception_handler = note_and_report  # type: ignore[assignment, method-assign]
    try:
        yield ear
    finally:
        asyncio.BaseEventLoop.call_exception_handler = report  # type: ignore[method-assign]
