# >>> template only
"""What the README shows works as it is written there."""

from __future__ import annotations

import asyncio

import pytest

from test_framework.fixtures import MakeSettings
from test_framework.servers import in_process
from tests.integration.documents import block

DEADLINE_SECONDS = 15.0

pytestmark = pytest.mark.needs("curl")


async def test_the_curl_lines_start_a_run(make_settings: MakeSettings) -> None:
    lines = [
        line for line in block("README.md", "console", "curl").splitlines() if line.startswith(("$ token", "$ curl"))
    ]
    script = "\n".join(line[2:] for line in lines)

    async with in_process(make_settings()) as server:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euc", script.replace("localhost:8000", server.url.removeprefix("http://"))),
            stdout=asyncio.subprocess.PIPE,
        )
        answer, _ = await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)

    assert b'"status":"running"' in answer
    assert b"How many words are these?" in answer


# <<< template only
