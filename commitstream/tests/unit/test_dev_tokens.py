"""Tokens for any name are made for callers on this machine, whatever server listens."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from commitstream import Engine, EngineSettings, install

START_SECONDS = 10.0


@pytest.mark.parametrize(
    ("caller", "status"),
    [("127.0.0.1", 200), ("::1", 200), ("testclient", 200), ("192.168.0.7", 403), ("::ffff:10.0.0.1", 403)],
)
async def test_only_a_caller_on_loopback_gets_a_dev_token(database_url: str, caller: str, status: int) -> None:
    app = FastAPI()
    install(app, Engine(EngineSettings(database_url=database_url, redis_url="")))
    transport = httpx.ASGITransport(app, client=(caller, 50000))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        await app.state.startup.wait_ready(START_SECONDS)
        answer = await client.post("/api/dev/token", json={"user": "ada"})

    assert answer.status_code == status
    assert ("token" in answer.json()) is (status == 200)
