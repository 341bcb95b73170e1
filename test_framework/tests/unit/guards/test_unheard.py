"""What failed where nobody awaited it is heard once, and what a library leaves lying about is not."""

from __future__ import annotations

import logging

import pytest

from test_framework.guards.unheard import Ear, UnheardError


def record(words: str) -> logging.LogRecord:
    return logging.LogRecord("asyncio", logging.ERROR, __file__, 1, words, None, None)


def test_a_future_that_nobody_awaited_fails_the_test_once() -> None:
    ear = Ear()
    ear.emit(
        record("Future exception was never retrieved\nfuture: <Future finished exception=ConnectionError('gone')>")
    )

    with pytest.raises(UnheardError, match="ConnectionError\\('gone'\\)"):
        ear.demand_silence()
    ear.demand_silence()


@pytest.mark.parametrize(
    "words",
    [
        "Executing <Task pending> took 0.2 seconds",
        "Future exception was never retrieved\nfuture: <Future finished exception="
        "ConnectionError('unexpected connection_lost() call')>",
    ],
)
def test_what_nobody_here_can_await_is_passed_over(words: str) -> None:
    ear = Ear()
    ear.emit(record(words))

    ear.demand_silence()
