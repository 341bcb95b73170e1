"""AgentsClient: a method for every route, and what it sends again."""

from __future__ import annotations

import httpx
import pytest

from app.agents.events import AgentCompleted, AgentStarted
from app.agents.tables import RunStatus
from test_framework.backend_client import NoAnswer
from test_framework.servers import Server
from test_framework.users import TestUserContext
from tests.agents.client import AgentsClient

OURS = ("/api/dev/", "/api/events", "/api/runs", "/health/")
"""What the routes of the engine and of the example begin with; a project has others besides."""


async def test_there_is_a_method_for_every_route(shared_server: Server) -> None:
    user = TestUserContext.of(shared_server.settings)
    asked: list[tuple[str, str]] = []

    async def note(request: httpx.Request) -> None:
        asked.append((request.method, request.url.path))

    async with AgentsClient.of(shared_server, user) as client:
        client._http.event_hooks = {"request": [note]}
        token = await client.make_token(user.id)
        run = await client.using(token.token).start_run("!stall 60")
        assert (await client.cancel(run.id)).id == run.id
        assert [view.id for view in await client.runs(limit=5)] == [run.id]
        assert (await client.run(run.id)).message == "!stall 60"
        assert (await client.events(run.id, limit=1))[0].type == AgentStarted.event_type
        async with client.stream(after=0) as events:
            shown = [(await anext(events)).type, (await anext(events)).type]
        assert shown == [AgentStarted.event_type, AgentCompleted.event_type]
        assert await client.live()
        assert (await client.ready()).status in {"ready", "degraded"}
        assert (await client.startup()).ready
        assert (await client.metrics())["watchers"] >= 0
        described = {
            (method.upper(), path)
            for path, methods in (await client.description())["paths"].items()
            for method in methods
            if path.startswith(OURS)
        }
        assert "<html" in await client.page()
        assert await client.web_file("page.js")

    visited = {(method, path.replace(run.id, "{run_id}")) for method, path in asked}
    undescribed = {("GET", path) for path in ("/", "/metrics", "/openapi.json", "/web/page.js")}
    assert visited == described | undescribed


def answering_once_away(view: dict[str, object]) -> tuple[AgentsClient, list[httpx.Request]]:
    """A client whose server is away at first, and all that it was asked."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) == 1:
            raise httpx.ReadTimeout("")
        return httpx.Response(202, json=view)

    client = AgentsClient("http://service", "a-token", patience=5.0)
    client._http = httpx.AsyncClient(base_url="http://service", transport=httpx.MockTransport(answer))
    return client, asked


RUN: dict[str, object] = {
    "id": "abc",
    "status": "running",
    "message": "m",
    "created_at": "2026-11-21T06:12:03Z",
    "finished_at": None,
}


async def test_a_run_is_started_again_only_with_an_idempotency_key() -> None:
    safe, asked_safely = answering_once_away(RUN)
    unsafe, asked = answering_once_away(RUN)

    assert (await safe.start_run("m", key="k")).status is RunStatus.RUNNING
    with pytest.raises(NoAnswer):
        await unsafe.start_run("m")

    assert [request.headers["idempotency-key"] for request in asked_safely] == ["k", "k"]
    assert len(asked) == 1


async def test_a_cancel_is_asked_again_because_twice_is_once() -> None:
    client, asked = answering_once_away(RUN)

    assert (await client.cancel("abc")).id == "abc"
    assert len(asked) == 2
