"""`GET /api/events`: the stream of `/ws`, without a seam, and gone without a trace when its reader is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import pytest_asyncio

from commitstream.service.tokens import Tokens
from commitstream.tests.jobs.application import JobsSettings
from commitstream.tests.jobs.client import JobsClient
from commitstream.tests.jobs.conftest import MakeJobsSettings
from commitstream.tests.jobs.inside import PROBLEM, assert_problem, bearer, eventually, jobs_in_loop, left_over
from commitstream.topics import user_stream
from commitstream.transports import sse as stream
from commitstream.user import User
from test_framework.servers import InLoopServer
from test_framework.users import TestUserContext

DEADLINE_SECONDS = 5.0


@pytest.fixture(autouse=True)
def server(watched: InLoopServer) -> InLoopServer:
    """The server that all of these share."""
    return watched


@dataclass
class Stream:
    """What a client of server-sent events sees."""

    response: httpx.Response
    lines: AsyncIterator[str]

    async def line(self, begins: str | tuple[str, ...]) -> str:
        """Read on to a line; empty where the stream ends before it comes."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            async for line in self.lines:
                if line.startswith(begins):
                    return line
        return ""

    async def events(self, count: int) -> list[int]:
        """The numbers of the next events, the same in an event's id and in its data."""
        seqs: list[int] = []
        seq = -1
        while len(seqs) < count:
            name, _, value = (await self.line(("id: ", "data: "))).partition(": ")
            if name == "id":
                seq = int(value)
                continue
            assert json.loads(value)["seq"] == seq
            seqs.append(seq)
        return seqs


@dataclass
class Ada:
    server: InLoopServer
    user: TestUserContext
    client: JobsClient

    @property
    def stream(self) -> str:
        return str(user_stream(self.user.id))

    async def job(self) -> None:
        """Have five events written."""
        await self.client.start("hello")

    @asynccontextmanager
    async def watch(self, after: int | None = None, last_event_id: int | None = None) -> AsyncIterator[Stream]:
        headers = bearer(self.user.token) | ({} if last_event_id is None else {"Last-Event-ID": str(last_event_id)})
        async with (
            httpx.AsyncClient(base_url=self.server.url, timeout=DEADLINE_SECONDS, trust_env=False, verify=False) as client,
            client.stream("GET", "/api/events", params={} if after is None else {"after": after}, headers=headers) as response,
        ):  # fmt: skip
            yield Stream(response, response.aiter_lines())


@asynccontextmanager
async def somebody(server: InLoopServer) -> AsyncIterator[Ada]:
    user = TestUserContext.of(server.settings)
    async with JobsClient(server.url, user.token) as client:
        yield Ada(server, user, client)


@pytest_asyncio.fixture
async def ada(server: InLoopServer) -> AsyncIterator[Ada]:
    async with somebody(server) as ada:
        yield ada


async def test_what_was_is_replayed_and_what_comes_follows_without_a_seam(ada: Ada) -> None:
    await ada.job()
    async with ada.watch(after=2) as stream:
        assert await stream.events(3) == [3, 4, 5]

        await ada.job()

        assert await stream.events(5) == [6, 7, 8, 9, 10]
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert stream.response.headers["cache-control"] == "no-store"
        assert stream.response.headers["x-request-id"]


async def test_a_client_cut_before_its_first_event_loses_none(ada: Ada) -> None:
    await ada.job()
    async with ada.watch() as first:
        remembered = (await first.line("id: ")).removeprefix("id: ")

    await ada.job()

    async with ada.watch(last_event_id=int(remembered)) as again:
        assert await again.events(5) == [6, 7, 8, 9, 10]


async def test_without_a_cursor_there_is_only_what_comes(ada: Ada) -> None:
    await ada.job()
    async with ada.watch() as stream:
        assert await stream.line("id: ") == "id: 5"

        await ada.job()

        assert await stream.events(1) == [6]


async def test_a_client_that_comes_back_goes_on_where_it_was_whatever_its_first_url_said(ada: Ada) -> None:
    await ada.job()
    async with ada.watch(after=0, last_event_id=4) as stream:
        assert await stream.events(1) == [5]


async def test_events_written_while_a_stream_opens_are_neither_lost_nor_doubled(ada: Ada) -> None:
    jobs = asyncio.gather(*(ada.client.start("hello") for _ in range(4)))
    async with ada.watch(after=0) as stream:
        assert await stream.events(20) == list(range(1, 21))
    await jobs


async def test_a_quiet_stream_says_that_it_is_still_there(ada: Ada, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "KEEP_ALIVE_SECONDS", 0.02)
    async with ada.watch() as quiet:
        assert await quiet.line(": still here")
        await ada.job()
        assert await quiet.events(5) == [1, 2, 3, 4, 5]


async def test_a_stream_ends_when_its_token_expires(ada: Ada, monkeypatch: pytest.MonkeyPatch) -> None:
    verified = Tokens.user

    def for_a_moment(tokens: Tokens, token: str) -> User:
        return replace(verified(tokens, token), expires=datetime.now(UTC) + timedelta(seconds=0.1))

    monkeypatch.setattr(Tokens, "user", for_a_moment)
    async with ada.watch() as short:
        assert await short.line("data: ") == ""


async def test_a_stream_ends_in_good_order_when_the_service_drains(settings: JobsSettings) -> None:
    async with jobs_in_loop(settings) as server, somebody(server) as ada, ada.watch(after=0) as ending:
        await ada.job()

        await server.engine.drain()

        assert await ending.events(5) == [1, 2, 3, 4, 5]
        assert await ending.line("data: ") == ""
        async with ada.watch() as late:
            assert late.response.status_code == 503


async def test_a_client_that_leaves_is_watched_for_no_longer(ada: Ada) -> None:
    async with ada.watch() as stream:
        await stream.line("id: ")
        assert ada.server.engine.hub.watchers == 1

    await eventually(lambda: left_over(ada.server), lambda left: not left)


async def test_a_stream_more_than_a_user_may_have_is_a_429(make_settings: MakeJobsSettings) -> None:
    async with jobs_in_loop(make_settings(sockets_per_user=1)) as server, somebody(server) as ada:
        async with ada.watch() as first:
            await first.line("id: ")
            async with ada.watch() as second:
                await second.response.aread()
                assert_problem(second.response, 429, "more than 1 sockets")
        await eventually(lambda: left_over(server), lambda left: not left)

        async with ada.watch() as again:
            assert again.response.status_code == 200


async def test_a_cursor_ahead_of_everything_is_a_409(ada: Ada) -> None:
    async with ada.watch(after=7) as refused:
        await refused.response.aread()
        assert_problem(refused.response, 409, "cursor 7 is ahead of the last event, 0")


@pytest.mark.parametrize("token", ["expired_token", "forged_token"])
async def test_a_worthless_token_is_a_401(ada: Ada, token: str) -> None:
    async with httpx.AsyncClient(base_url=ada.server.url, trust_env=False, verify=False) as client:
        answer = await client.get("/api/events", headers=bearer(getattr(ada.user, token)))

    assert answer.status_code == 401
    assert answer.headers["content-type"] == PROBLEM
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_one_user_is_never_shown_the_stream_of_another(ada: Ada) -> None:
    async with somebody(ada.server) as bob, bob.watch(after=0) as his, ada.watch(after=0) as hers:
        await ada.job()
        assert await hers.events(5) == [1, 2, 3, 4, 5]

        await bob.job()

        first = json.loads((await his.line("data: ")).removeprefix("data: "))
        assert first["seq"] == 1
        assert first["subject"] in {job.id for job in await bob.client.jobs()}
