"""One trace from the request to the bus, the same in spans, logs and the journal, and shown to no watcher; and nothing of it where nobody asks."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from app.settings import ROOT, Settings

RECORDED_SECONDS = 25.0
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"

Span = Mapping[str, Any]


async def python(*arguments: str) -> str:
    """What a Python process of its own says, once it has ended well."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        said, complained = await asyncio.wait_for(process.communicate(), RECORDED_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode == 0, complained.decode()
    return said.decode()


def plain(settings: Settings) -> dict[str, str]:
    """Settings as another process can be given them."""
    return {
        "database_url": settings.database_url,
        "redis_url": settings.redis_url,
        "channel_prefix": settings.channel_prefix,
        "token_secret": settings.token_secret.get_secret_value(),
        "port": "0",
    }


@pytest.mark.parametrize("parent", ["", PARENT], ids=["of its own", "begun by the caller"])
async def test_a_run_is_one_trace_from_the_request_to_the_bus(settings: Settings, parent: str) -> None:
    given = json.dumps({"settings": plain(settings), "parent": parent})

    recorded = json.loads((await python("-m", "tests.agents.full.recording", given)).splitlines()[-1])

    spans = {span["context"]["span_id"]: span for span in recorded["spans"]}
    [request] = [span for span in spans.values() if span["name"] == "POST /api/runs"]
    trace = request["context"]["trace_id"].removeprefix("0x")
    ours = [span for span in spans.values() if span["context"]["trace_id"] == f"0x{trace}"]
    kinds = Counter(span["name"] for span in ours if not span["name"].startswith("fastapi."))
    events = len(recorded["journal"])
    assert set(recorded["logged"] + recorded["journal"]) == {trace}
    assert recorded["shown"] == [{}] * events
    assert kinds == {
        "POST /api/runs": 1,
        "invoke_agent": 1,
        "chat scripted": 1,
        "execute_tool": 2,
        "publish events": events,
    }
    assert trace == TRACE or not parent
    for span in ours:
        assert span is request or beginning(span, spans) == request, f"{span['name']} hangs below something else"
    for name, above in (("execute_tool", "chat scripted"), ("chat scripted", "invoke_agent")):
        assert {spans[span["parent_id"]]["name"] for span in ours if span["name"] == name} == {above}
    assert not [span for span in spans.values() if "/health" in json.dumps(span["attributes"])]


def beginning(span: Span, spans: Mapping[str, Span]) -> Span:
    """The span that a span goes back to."""
    while span["parent_id"] in spans:
        span = spans[span["parent_id"]]
    return span


async def test_without_such_a_setting_nothing_of_the_sdk_is_imported(settings: Settings) -> None:
    program = (
        "import sys; from app.main import create_app; from app.settings import Settings; "
        "from commitstream.service.server import _trace; "
        f"_trace(create_app(Settings(_env_file=None, database_url={settings.database_url!r}))); "
        "print(sorted(name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))))"
    )

    assert (await python("-c", program)).strip() == "[]"
