"""One trace from the request to the bus, the same in spans, logs and the journal, and shown to no watcher; and nothing of it where nobody asks."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from signal import SIGTERM
from typing import Any

import httpx
import pytest

from app.settings import ROOT, Settings
from test_framework.servers import token
from tests.full.processes import run

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


async def test_a_setting_of_opentelemetry_is_enough_for_a_process_to_export(settings: Settings) -> None:
    environment = {
        "DATABASE_URL": settings.database_url,
        "APP_PORT": "0",
        "APP_TOKEN_SECRET": settings.token_secret.get_secret_value(),
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=here",
    }
    async with run(environment) as process:
        async with httpx.AsyncClient(base_url=await process.url(), trust_env=False) as client:
            headers = {"Authorization": f"Bearer {token(settings, 'ada')}"}
            await client.post("/api/runs", json={"message": "hello"}, headers=headers)
        ended = await process.ended(SIGTERM)

    assert ended.code == 0, ended.complained
    assert '"name": "POST /api/runs"' in ended.said
    assert '"deployment.environment.name": "here"' in ended.said
    assert '"service.name": "unknown_service"' not in ended.said


async def test_a_process_whose_traces_can_t_be_exported_says_so_and_serves(
    settings: Settings,
) -> None:
    environment = {"DATABASE_URL": settings.database_url, "APP_PORT": "0", "OTEL_TRACES_EXPORTER": "nowhere"}
    async with run(environment) as process:
        url = await process.url()
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            ready = await client.get("/health/ready")
        ended = await process.ended(SIGTERM)

    assert (ready.status_code, ended.code) == (200, 0)
    [line] = ended.complained.splitlines()
    assert "no traces" in line
    assert "pip install opentelemetry-sdk" in line


async def test_without_such_a_setting_nothing_of_the_sdk_is_imported(settings: Settings) -> None:
    program = (
        "import sys; from app.main import create_app; from app.settings import Settings; "
        "from commitstream.service.server import _trace; "
        f"_trace(create_app(Settings(_env_file=None, database_url={settings.database_url!r}))); "
        "print(sorted(name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))))"
    )

    assert (await python("-c", program)).strip() == "[]"
