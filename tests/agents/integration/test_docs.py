"""What the docs show works as it is written there."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.settings import ROOT
from test_framework.servers import Server
from tests.agents.context import AgentsContext
from tests.integration.documents import block

DEADLINE_SECONDS = 15.0


async def test_the_fifteen_line_client_of_the_docs_shows_a_run(server: Server, tmp_path: Path) -> None:
    client = tmp_path / "client.py"
    code = block("docs/events.md", "python", "async def watch").replace("127.0.0.1:8000", server.url[7:])
    client.write_text(code, encoding="utf-8")
    assert len([line for line in code.splitlines() if line.strip()]) <= 20

    async with AgentsContext(server) as ada:
        run = await ada.run_agent("as written")
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(client), ada.user.token, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                shown = [(await process.stdout.readline()).decode() for _ in ada.capture.of_run(run.id)]
        finally:
            process.kill()
            await process.wait()

    assert [line.split()[1] for line in shown] == [str(kind) for kind in ada.capture.kinds(run.id)]


@pytest.mark.needs("curl")
async def test_the_docs_curl_line_streams_events(server: Server) -> None:
    line = next(
        part for part in (ROOT / "docs/events.md").read_text(encoding="utf-8").split("`") if part.startswith("curl -N")
    )

    async with AgentsContext(server) as ada:
        await ada.run_agent("as written")
        script = line.replace("localhost:8000", server.url[7:]).replace("Last-Event-ID: 12", "Last-Event-ID: 2")
        process = await asyncio.create_subprocess_exec(
            "bash", "-euc", f"token={ada.user.token}; exec {script} -s", stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                seen = [line async for line in until(process.stdout, "id: 5")]
        finally:
            process.kill()
            await process.wait()

    assert [line for line in seen if line.startswith("id: ")] == [
        "id: 2",
        "id: 3",
        "id: 4",
        "id: 5",
    ]  # where it was, and the events


async def until(stream: asyncio.StreamReader, last: str) -> AsyncIterator[str]:
    async for raw in stream:
        line = raw.decode().strip()
        yield line
        if line == last:
            return
