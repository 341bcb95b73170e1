"""An exception in a task that nobody awaited is only logged, and only when the task is forgotten: here it fails the test."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from test_framework.guards.timeouts import TimeIsUp

NEVER_RETRIEVED = "exception was never retrieved"
OF_A_LIBRARY = {
    "unexpected connection_lost() call": "asyncpg, where a task is cancelled that has just connected and not yet spoken",
}


class UnheardError(AssertionError):
    """Something failed in the background of a test, and nothing that was asserted would have shown it."""


class Ear(logging.Handler):
    """Hears what asyncio logs of failed tasks and futures."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._heard: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        told = record.exc_info is not None and isinstance(record.exc_info[1], TimeIsUp)  # its test has failed for that
        if NEVER_RETRIEVED in str(record.msg) and not told and not _of_a_library(record.getMessage()):
            self._heard.append(record)

    def demand_silence(self) -> None:
        """Raise what was heard since the last time."""
        heard, self._heard = self._heard, []
        if heard:
            told = "\n".join(record.getMessage() for record in heard)
            error = next((record.exc_info[1] for record in heard if record.exc_info), None)
            raise UnheardError(f"failed in the background, where nobody awaited it: {told}") from error


def _of_a_library(message: str) -> bool:
    return any(words in message for words in OF_A_LIBRARY)


@contextmanager
def listening() -> Iterator[Ear]:
    """Listen until the block ends."""
    ear = Ear()
    logger = logging.getLogger("asyncio")
    logger.addHandler(ear)
    try:
        yield ear
    finally:
        logger.removeHandler(ear)
