"""While a process drains, every request that could write is refused, whose route it may be."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from fastapi import APIRouter, FastAPI

from commitstream import Domain, Engine, EngineSettings, install

UNSAFE = ["POST", "PUT", "PATCH", "DELETE"]
SAFE = ["GET", "HEAD", "OPTIONS"]
START_SECONDS = 10.0


class Orders(Domain):
    def __init__(self) -> None:
        router = APIRouter()
        router.add_api_route("/orders", answer, methods=[*UNSAFE, *SAFE])
        self.routers = [router]


async def answer() -> str:
    return "done"


@pytest_asyncio.fixture
async def engine(database_url: str) -> Engine:
    return Engine(EngineSettings(database_url=database_url, redis_url=""))


@pytest_asyncio.fixture
async def client(engine: Engine) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.add_api_route("/plain", answer, methods=[*UNSAFE, *SAFE])
    install(app, engine, [Orders()])
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        await app.state.startup.wait_ready(START_SECONDS)
        yield client


@pytest.mark.parametrize("path", ["/orders", "/plain"])
@pytest.mark.parametrize("method", UNSAFE)
async def test_an_unsafe_request_is_refused_while_draining(
    engine: Engine, client: httpx.AsyncClient, method: str, path: str
) -> None:
    before = await client.request(method, path)
    await engine.drain()
    refused = await client.request(method, path)

    assert before.status_code == 200
    assert refused.status_code == 503
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.headers["Retry-After"]


@pytest.mark.parametrize("method", SAFE)
async def test_a_safe_request_is_answered_while_draining(
    engine: Engine, client: httpx.AsyncClient, method: str
) -> None:
    await engine.drain()

    assert (await client.request(method, "/orders")).status_code == 200
