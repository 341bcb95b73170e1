"""A reader that takes nothing more of what it asked for."""

from __future__ import annotations

import asyncio
import signal
from urllib.parse import urlsplit

from commitstream.tests.jobs.client import JobsContext
from commitstream.tests.jobs.conftest import MODULE, MakeJobsSettings
from test_framework.servers import in_process

REST_SECONDS = 15.0


async def test_a_reader_that_is_stuck_holds_up_no_end(make_settings: MakeJobsSettings) -> None:
    settings = make_settings(shutdown_timeout_seconds=0.2)
    async with in_process(settings, module=MODULE) as server, JobsContext(server) as ada:
        address = urlsplit(server.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1024)
        head = f"GET /api/events?after=0 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ada.user.token}\r\n\r\n"
        writer.write(head.encode())
        assert b"200 OK" in await reader.readline()  # and nothing more, whatever comes
        for _ in range(30):
            await ada.client.start("!think " + "x" * 500_000)
        await ada.wait_for_seq(30 * 3)

        server.process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(server.process.wait(), REST_SECONDS)
        writer.close()

        assert code == 0
        assert "Traceback" not in server.said
