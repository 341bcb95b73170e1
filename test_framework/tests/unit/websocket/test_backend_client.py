"""BackendClient: what the engine answers, tokens on demand, retries only where they do no harm, errors that show it all."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import httpx
import pytest

from commitstream.tests.jobs.client import ENDED, STARTED, THOUGHT, JobsClient, JobsContext
from commitstream.topics import user_stream
from test_framework.backend_client import NoAnswer, UnexpectedAnswer
from test_framework.servers import InLoopServer, Server
from test_framework.users import TestUserContext

Script = list[httpx.Response | Exception]


def answering(
    script: Script, *, patience: float = 5.0, user: TestUserContext | None = None
) -> tuple[JobsClient, list[httpx.Request]]:
    """A client whose server answers as written, and all that it was asked."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        step = script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    client = JobsClient("http://service", "a-token", user=user, patience=patience)
    client._http = httpx.AsyncClient(base_url="http://service", transport=httpx.MockTransport(answer))
    return client, asked


def away() -> httpx.Response:
    return httpx.Response(503, json={"detail": "the database can't be reached; try again"})


async def test_what_the_engine_answers_is_read(ada: JobsContext) -> None:
    token = await ada.client.make_token(ada.user.id)

    assert await ada.client.using(token.token).jobs() == []
    assert await ada.client.live()
    assert (await ada.client.ready()).status in {"ready", "degraded"}
    assert (await ada.client.startup()).ready
    assert (await ada.client.metrics())["watchers"] >= 1
    assert "/api/events" in (await ada.client.description())["paths"]


async def test_a_stream_gives_events_as_they_come(ada: JobsContext) -> None:
    async with ada.client.stream(after=0) as events:
        await ada.do("!think once")

        assert [(await anext(events)).type for _ in range(3)] == [STARTED, THOUGHT, ENDED]


async def test_events_keep_their_user_s_request_and_trace(ada: JobsContext, bob: JobsContext) -> None:
    journal = cast("InLoopServer", ada.server).engine.journal
    for user in (ada, bob):
        await user.do("hello")
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
    ada: JobsContext, token: Callable[[TestUserContext], str | None], reason: str
) -> None:
    with pytest.raises(UnexpectedAnswer, match=rf"(?s)expected 200, got 401 Unauthorized.*{reason}"):
        await ada.client.using(token(ada.user)).jobs()

    assert await ada.client.jobs() == []


async def test_an_unexpected_answer_shows_the_request_and_the_answer_without_the_token(ada: JobsContext) -> None:
    await ada.do("hello")

    with pytest.raises(UnexpectedAnswer) as failed:
        await ada.client.expect(202, "POST", "/api/jobs", json={"message": ""}, headers={"Idempotency-Key": "the-key"})

    said = str(failed.value)
    assert said.startswith(f"POST {ada.server.url}/api/jobs: expected 202, got 422 Unprocessable Entity\n")
    assert '  > {"message":""}' in said
    assert "  > idempotency-key: the-key" in said
    assert "  > authorization: (not shown)" in said
    assert f"  < x-request-id: {ada.user.session_id}-2" in said
    assert "String should have at least 1 character" in said
    assert str(ada.client.token) not in said


async def test_a_stream_that_is_refused_shows_the_answer_too(ada: JobsContext) -> None:
    with pytest.raises(
        UnexpectedAnswer, match=r"(?s)GET .*/api/events\?after=7: expected 200, got 409 .*begin again at 0"
    ):
        async with ada.client.stream(after=7):
            pytest.fail("it was not refused")  # pragma: no cover


async def test_a_long_body_is_shown_in_part() -> None:
    client, _ = answering([httpx.Response(500, text="x" * 5000)])

    with pytest.raises(UnexpectedAnswer) as failed:
        await client.jobs()

    assert "  < … 3000 more characters" in str(failed.value)
    assert len(str(failed.value)) < 2500


async def test_where_nobody_listens_that_is_said_with_the_next_step(shared_server: Server) -> None:
    async with JobsClient("http://127.0.0.1:9") as client:
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
        await client.jobs()
    assert (len(asked), client.retried) == (1, [])


@pytest.mark.parametrize(
    "fault", [away(), httpx.Response(429), httpx.ConnectError("refused"), httpx.ReadTimeout("")], ids=repr
)
async def test_what_only_reads_is_tried_again_and_that_is_told(fault: httpx.Response | Exception) -> None:
    client, asked = answering([fault, httpx.Response(200, json=[])])

    assert await client.jobs() == []
    assert len(asked) == 2
    assert len(client.retried) == 1
    assert client.retried[0].startswith("GET /api/jobs: GET http://service/api/jobs: ")


async def test_what_writes_is_sent_again_only_where_that_is_safe() -> None:
    safe, asked_safely = answering([away(), httpx.Response(202)])
    unsafe, asked = answering([httpx.ReadTimeout(""), httpx.Response(202)])

    assert (await safe.expect(202, "POST", "/api/jobs", again=True)).status_code == 202
    with pytest.raises(NoAnswer):
        await unsafe.expect(202, "POST", "/api/jobs")

    assert (len(asked_safely), len(asked)) == (2, 1)


async def test_a_mistake_is_never_tried_again() -> None:
    client, asked = answering([httpx.Response(404), httpx.Response(200)])

    with pytest.raises(UnexpectedAnswer, match="got 404"):
        await client.events("abc")
    assert len(asked) == 1


async def test_patience_ends_and_the_last_answer_is_what_is_told() -> None:
    client, asked = answering([away() for _ in range(50)], patience=0.2)

    with pytest.raises(UnexpectedAnswer, match=r"(?s)got 503.*can't be reached"):
        await client.jobs()
    assert 1 < len(asked) < 10
    assert len(client.retried) == len(asked) - 1


async def test_a_server_that_says_when_to_come_back_is_heeded() -> None:
    client, asked = answering([httpx.Response(429, headers={"Retry-After": "60"}), httpx.Response(200, json=[])])

    with pytest.raises(UnexpectedAnswer, match=r"(?s)got 429.*retry-after: 60"):
        await client.jobs()  # it would have to wait for longer than its patience lasts
    assert len(asked) == 1


async def test_readiness_is_told_whether_it_can_serve_or_not() -> None:
    client, _ = answering(
        [httpx.Response(503, json={"status": "draining", "phase": "ready", "checks": {}})], patience=0
    )

    assert (await client.ready()).status == "draining"
