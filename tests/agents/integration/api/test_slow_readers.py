"""Who doesn't read what is sent to them is let go of, and holds nothing of ours."""

from __future__ import annotations

import asyncio

import pytest

from app.agents.routes import LONGEST_MESSAGE
from commitstream.transports import sse as stream
from test_framework.fixtures import MakeSettings
from test_framework.servers import in_loop
from test_framework.users import TestUserContext
from tests.agents.client import AgentsClient
from tests.agents.unit.api.inside import eventually
from tests.agents.unit.api.wire import wire


async def test_a_stream_whose_client_stops_reading_is_cut_and_watched_for_no_longer(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stream, "SLOW_SECONDS", 0.1)
    async with in_loop(make_settings()) as server:
        token = TestUserContext.of(server.settings).token
        async with wire(server) as raw, AgentsClient(server.url, token) as ada:
            ask = ("GET /api/events?after=0 HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token}", "", "")
            await raw.send("\r\n".join(ask).encode())
            await raw.reader.readuntil(b"id: ")
            raw.stop_reading()

            for _ in range(16):
                await ada.start_run("x" * LONGEST_MESSAGE)

            await eventually(lambda: asyncio.sleep(0, server.engine.hub.watchers), lambda watchers: watchers == 0)
            assert "reads too slowly" in caplog.text
