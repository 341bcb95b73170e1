"""Whatever way `python -m app` ends, with a run at work and a user watching: no last words, and an exit code that says how."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from app.settings import Settings
from test_framework.servers import ProcessServer, in_process
from test_framework.test_context import TestContext
from test_framework.tests.kit.endings.test_ways_to_end import LAST_WORDS
from test_framework.waiting import becomes

pytestmark = pytest.mark.needs("posix")

ENDED_SECONDS = 15.0


@pytest_asyncio.fixture
async def serving(settings: Settings) -> AsyncIterator[ProcessServer]:
    async with in_process(settings) as server:
        yield server


@pytest.mark.parametrize(
    ("signals", "codes"),
    [
        pytest.param([signal.SIGINT], {0}, id="ctrl-c"),
        pytest.param([signal.SIGTERM], {0}, id="term"),
        pytest.param([signal.SIGHUP], {0}, id="hup"),
        pytest.param([signal.SIGINT, signal.SIGINT], {0, 1, 3}, id="ctrl-c twice"),
        pytest.param([signal.SIGKILL], {-signal.SIGKILL}, id="kill"),
    ],
)
async def test_it_ends_quietly(serving: ProcessServer, signals: list[signal.Signals], codes: set[int]) -> None:
    async with TestContext(serving) as ada:
        await ada.client.request("POST", "/api/runs", json={"message": "!stall 20"})
        await ada.wait_for_seq(1)

        for number in signals:
            serving.process.send_signal(number)
        code = await asyncio.wait_for(serving.process.wait(), ENDED_SECONDS)

    assert code in codes, serving.said
    for words in (*LAST_WORDS, "Traceback"):
        assert words not in serving.said, serving.said


async def test_its_port_is_free_at_once(serving: ProcessServer) -> None:
    serving.process.terminate()
    await asyncio.wait_for(serving.process.wait(), ENDED_SECONDS)
    port = int(serving.url.rpartition(":")[2])

    async def is_free() -> bool:
        try:
            (await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port)).close()
        except OSError:
            return False
        return True

    await becomes(is_free, f"port {port} free")
