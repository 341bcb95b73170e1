"""AgentsClient: a method for every route, tokens on demand, retries only where they do no harm, errors that show it all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import httpx
import pytest

from app.agents.events import AgentCompleted, AgentStarted
from app.agents.tables import RunStatus
from commitstream.topics import user_stream
from test_framework.backend_client import NoAnswer, UnexpectedAnswer
from test_framework.servers import InLoopServer, Server
from test_framework.users import TestUserContext
from tests.agents.client import AgentsClient
from tests.agents.context import AgentsContext

Script = list[httpx.Response | Exception]


def answering(
    script: Script, *, patience: float = 5.0, user: TestUserContext | None = None
) -> tuple[AgentsClient, list[httpx.Request]]:
    """A client whose server answers as written, and all that it was asked."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        step = script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    client = AgentsClient("http://service", "a-token", user=user, patience=patience)
    client._http = httpx.AsyncClient(base_url="http://service", transport=httpx.MockTransport(answer))
    return client, asked


def away() -> httpx.Response:
    return httpx.Response(503, json={"detail": "the database can't be reached; try again"})


def run_view(status: int = 202) -> httpx.Response:
    view = {"id": "abc", "status": "running", "message": "m", "created_at": "2026-11-21T06:12:03Z", "finished_at": None}
    return httpx.Response(status, json=view)


@asynccontextmanager
async def listened_to(client: AgentsClient) -> AsyncIterator[list[tuple[str, str]]]:
    """Note the method and the path of every request that the block sends."""
    asked: list[tuple[str, str]] = []

    async def note(request: httpx.Request) -> None:
        asked.append((request.method, request.url.path))

    client._http.event_hooks = {"request": [note]}
    yield asked


OURS = ("/api/dev/", "/api/events", "/api/runs", "/health/")
"""What the routes of the engine and of the example begin with; a project has others besides."""


async def test_there_is_a_method_for_every_route(shared_server: Server) -> None:
    user = TestUserContext.of(shared_server.settings)

    async with AgentsClient.of(shared_server, user) as client, listened_to(client) as asked:
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


async def test_events_keep_their_user_s_request_and_trace(ada: AgentsContext, bob: AgentsContext) -> None:
    journal = cast("InLoopServer", ada.server).engine.journal
    for user in (ada, bob):
        await user.run_agent("hello")
        kept = [await journal.metadata(user_stream(user.user.id), event.seq) for event in user.capture.events]

        assert kept == 5 * [{"request_id": f"{user.user.session_id}-1", "trace_id": user.user.thread_id}]


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (lambda user: user.expired_token, "the token has expired"),
        (lambda user: user.forged_token, "a key that is not in use here"),
        (lambda _: "no token at all", "the token is not valid here"),
        (lambda _: None, "send a token"),
    ],
    ids=["expired", "forged", "no token", "none"],
)
async def test_a_token_that_must_not_be_accepted_is_not(
    ada: AgentsContext, token: Callable[[TestUserContext], str | None], reason: str
) -> None:
    with pytest.raises(UnexpectedAnswer, match=rf"(?s)expected 200, got 401 Unauthorized.*{reason}"):
        await ada.client.using(token(ada.user)).runs()

    assert await ada.client.runs() == []


async def test_an_unexpected_answer_shows_the_request_and_the_answer_without_the_token(ada: AgentsContext) -> None:
    await ada.client.start_run("one message", key="the-key")

    with pytest.raises(UnexpectedAnswer) as failed:
        await ada.client.start_run("another", key="the-key")

    said = str(failed.value)
    assert said.startswith(f"POST {ada.server.url}/api/runs: expected 202, got 409 Conflict\n")
    assert '  > {"message":"another"}' in said
    assert "  > idempotency-key: the-key" in said
    assert "  > authorization: (not shown)" in said
    assert f"  < x-request-id: {ada.user.session_id}-2" in said
    assert "take a new Idempotency-Key for a new message" in said
    assert str(ada.client.token) not in said


async def test_a_stream_that_is_refused_shows_the_answer_too(ada: AgentsContext) -> None:
    with pytest.raises(
        UnexpectedAnswer, match=r"(?s)GET .*/api/events\?after=7: expected 200, got 409 .*begin again at 0"
    ):
        async with ada.client.stream(after=7):
            pytest.fail("it was not refused")  # pragma: no cover


async def test_a_long_body_is_shown_in_part() -> None:
    client, _ = answering([httpx.Response(500, text="x" * 5000)])

    with pytest.raises(UnexpectedAnswer) as failed:
        await client.runs()

    assert "  < … 3000 more characters" in str(failed.value)
    assert len(str(failed.value)) < 2500


async def test_where_nobody_listens_that_is_said_with_the_next_step(shared_server: Server) -> None:
    async with AgentsClient("http://127.0.0.1:9") as client:
        with pytest.raises(
            NoAnswer, match=r"GET http://127\.0\.0\.1:9/health/live: .*is the server of this URL running\?"
        ):
            await client.live()


async def test_a_server_that_is_too_slow_is_told_from_one_that_is_not_there() -> None:
    client, _ = answering([httpx.ReadTimeout("")], patience=0)

    with pytest.raises(NoAnswer, match=r"no answer came within the deadline$"):
        await client.live()


async def test_without_patience_nothing_is_tried_twice() -> None:
    client, asked = answering([away(), httpx.Response(200, json=[])], patience=0)

    with pytest.raises(UnexpectedAnswer, match="got 503"):
        await client.runs()
    assert (len(asked), client.retried) == (1, [])


@pytest.mark.parametrize(
    "fault", [away(), httpx.Response(429), httpx.ConnectError("refused"), httpx.ReadTimeout("")], ids=repr
)
async def test_what_only_reads_is_tried_again_and_that_is_told(fault: httpx.Response | Exception) -> None:
    client, asked = answering([fault, httpx.Response(200, json=[])])

    assert await client.runs() == []
    assert len(asked) == 2
    assert len(client.retried) == 1
    assert client.retried[0].startswith("GET /api/runs: GET http://service/api/runs: ")


async def test_a_run_is_started_again_only_with_an_idempotency_key() -> None:
    safe, asked_safely = answering([away(), run_view()])
    unsafe, asked = answering([httpx.ReadTimeout(""), run_view()])

    assert (await safe.start_run("m", key="k")).status is RunStatus.RUNNING
    with pytest.raises(NoAnswer):
        await unsafe.start_run("m")

    assert [request.headers["idempotency-key"] for request in asked_safely] == ["k", "k"]
    assert len(asked) == 1


async def test_a_cancel_is_asked_again_because_twice_is_once() -> None:
    client, asked = answering([away(), run_view()])

    assert (await client.cancel("abc")).id == "abc"
    assert len(asked) == 2


async def test_a_mistake_is_never_tried_again() -> None:
    client, asked = answering([httpx.Response(404), httpx.Response(200)])

    with pytest.raises(UnexpectedAnswer, match="got 404"):
        await client.run("abc")
    assert len(asked) == 1


async def test_patience_ends_and_the_last_answer_is_what_is_told() -> None:
    client, asked = answering([away() for _ in range(50)], patience=0.2)

    with pytest.raises(UnexpectedAnswer, match=r"(?s)got 503.*can't be reached"):
        await client.runs()
    assert 1 < len(asked) < 10
    assert len(client.retried) == len(asked) - 1


async def test_a_server_that_says_when_to_come_back_is_heeded() -> None:
    client, asked = answering([httpx.Response(429, headers={"Retry-After": "60"}), httpx.Response(200, json=[])])

    with pytest.raises(UnexpectedAnswer, match=r"(?s)got 429.*retry-after: 60"):
        await client.runs()  # it would have to wait for longer than its patience lasts
    assert len(asked) == 1


async def test_readiness_is_told_whether_it_can_serve_or_not() -> None:
    client, _ = answering(
        [httpx.Response(503, json={"status": "draining", "phase": "ready", "checks": {}})], patience=0
    )

    assert (await client.ready()).status == "draining"
