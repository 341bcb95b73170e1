"""Who doesn't read what is sent to them is let go of, and holds nothing of ours."""

from __future__ import annotations

import asyncio

import pytest

from commitstream.tests.jobs.application import LONGEST_MESSAGE
from commitstream.tests.jobs.client import JobsClient
from commitstream.tests.jobs.conftest import MakeJobsSettings
from commitstream.tests.jobs.inside import eventually, jobs_in_loop
from commitstream.tests.jobs.wire import wire
from commitstream.transports import sse as stream
from test_framework.users import TestUserContext


async def test_a_stream_whose_client_stops_reading_is_cut_and_watched_for_no_longer(
    make_settings: MakeJobsSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stream, "SLOW_SECONDS", 0.1)
    async with jobs_in_loop(make_settings()) as server:
        token = TestUserContext.of(server.settings).token
        async with wire(server) as raw, JobsClient(server.url, token) as ada:
            ask = ("GET /api/events?after=0 HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token}", "", "")
            await raw.send("\r\n".join(ask).encode())
            await raw.reader.readuntil(b"id: ")
            raw.stop_reading()

            for _ in range(16):
                await ada.start("x" * LONGEST_MESSAGE)

            await eventually(lambda: asyncio.sleep(0, server.engine.hub.watchers), lambda watchers: watchers == 0)
            assert "reads too slowly" in caplog.text
