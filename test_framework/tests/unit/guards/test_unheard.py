"""A failure that no code awaits is reported once, and what a library leaves behind is not."""

from __future__ import annotations

import asyncio

import pytest

from test_framework.guards.unheard import Ear, UnheardError

NEVER_RETRIEVED = "Future exception was never retrieved"


def test_a_future_whose_exception_is_not_retrieved_fails_once() -> None:
    ear = Ear()
    ear.note({"message": NEVER_RETRIEVED, "exception": ConnectionError("gone"), "future": "<exception=gone>"})

    with pytest.raises(UnheardError, match=r"Future exception was never retrieved\n.*<exception=gone>") as raised:
        ear.demand_silence()
    ear.demand_silence()

    assert isinstance(raised.value.__cause__, ConnectionError)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("Executing <Task pending> took 0.2 seconds", None),
        (NEVER_RETRIEVED, ConnectionError("unexpected connection_lost() call")),
    ],
)
async def test_what_no_code_here_can_await_is_passed_over(message: str, error: Exception | None) -> None:
    ear = Ear()
    future = asyncio.get_running_loop().create_future()
    if error is not None:
        future.set_exception(error)
        future.exception()
    ear.note({"message": message, "exception": error, "future": future})

    ear.demand_silence()
