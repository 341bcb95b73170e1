"""The service is asked whatever its own description allows and much that it forbids: no answer may be one it didn't announce.

The stream of events never ends by itself, so it is left to tests of its own.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from test_framework.fixtures import MakeSettings, Serve
from test_framework.users import TestUserContext

SECONDS = 15


@pytest.mark.timeout(90)
async def test_no_answer_is_other_than_announced(make_settings: MakeSettings, serve: Serve, tmp_path: Path) -> None:
    async with serve(make_settings(requests_per_minute=10_000_000)) as server:
        token = TestUserContext.of(server.settings).token

        code, report = await schemathesis(
            tmp_path,
            *("run", f"{server.url}/openapi.json", "--header", f"Authorization: Bearer {token}"),
            *("--checks", "all", "--exclude-path", "/api/events", "--continue-on-failure"),
            *("--max-time", str(SECONDS), "--request-timeout", "5", "--no-color"),
        )

        assert code == 0, report
        assert "No issues found" in report


async def schemathesis(directory: Path, *arguments: str) -> tuple[int | None, str]:
    """Run it where it may write what it likes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", *arguments),
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory), "PYTHONIOENCODING": "utf-8"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        report, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, report.decode()
