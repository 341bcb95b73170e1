"""How the process starts and shuts down, whatever it is doing when the signal comes."""

from __future__ import annotations

import json
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
import websockets

from commitstream.tests.jobs.conftest import MODULE
from commitstream.watchers import CloseReason
from test_framework.running.service_process import DEADLINE_SECONDS, EndedProcess, run
from test_framework.service_pool import ServicePool

BRISK_SECONDS = 4.0  # a process that waited for its database would take five; a busy machine takes over two
BOTH = [signal.SIGINT, signal.SIGTERM]
SECRET = secrets.token_urlsafe(48)

Environment = Mapping[str, str]


@pytest.fixture
def embedded(tmp_path: Path) -> dict[str, str]:
    """SQLite, no Redis, a free port, and no setting of the developer."""
    return {
        "DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/app.db",
        "REDIS_URL": "",
        "JOBS_PORT": "0",
        "JOBS_LOG_LEVEL": "warning",
        "JOBS_TOKEN_SECRET": SECRET,
    }


@pytest.fixture
def real(database_url: str, redis_url: str) -> dict[str, str]:
    """A real Postgres and a real Redis."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "JOBS_CHANNEL_PREFIX": f"test-{secrets.token_hex(4)}",
        "JOBS_PORT": "0",
        "JOBS_LOG_LEVEL": "warning",
        "JOBS_TOKEN_SECRET": SECRET,
    }


@pytest.fixture
def hole() -> Iterator[str]:
    """A database that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"postgresql+asyncpg://ada:hunter2@127.0.0.1:{listener.getsockname()[1]}/app"


@pytest.fixture
def nothing() -> Iterator[str]:
    """A database URL whose port is bound and not listening."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"postgresql+asyncpg://ada:hunter2@127.0.0.1:{held.getsockname()[1]}/app"


async def token_of(url: str) -> str:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        return str((await client.post("/api/dev/token", json={"user": "ada"})).json()["token"])


@asynccontextmanager
async def audience(url: str) -> AsyncIterator[tuple[websockets.ClientConnection, AsyncIterator[str]]]:
    """An open socket and an open stream, both of them greeted."""
    token = await token_of(url)
    async with (
        websockets.connect(url.replace("http", "ws") + "/ws?after=0", proxy=None) as socket,
        httpx.AsyncClient(base_url=url, trust_env=False, headers={"Authorization": f"Bearer {token}"}) as client,
        client.stream("GET", "/api/events", timeout=DEADLINE_SECONDS) as stream,
    ):
        await socket.send(f'{{"token": "{token}"}}')
        assert [json.loads(await socket.recv())["type"] for _ in range(2)] == ["hello", "live"]
        lines = stream.aiter_lines()
        await anext(lines)
        yield socket, lines


def assert_ended_well(ended: EndedProcess) -> None:
    assert ended.code == 0, ended.complained
    assert ended.complained == ""
    assert ended.seconds < BRISK_SECONDS


@pytest.mark.parametrize("number", BOTH, ids=str)
async def test_a_process_that_does_nothing_ends_at_once(embedded: Environment, number: signal.Signals) -> None:
    async with run(embedded, module=MODULE) as process:
        await process.url()

        assert_ended_well(await process.ended(number))


@pytest.mark.parametrize("number", BOTH, ids=str)
async def test_open_sockets_are_sent_elsewhere_and_open_streams_end(real: Environment, number: signal.Signals) -> None:
    async with run(real, module=MODULE) as process:
        async with audience(await process.url()) as (socket, lines):
            ended = await process.ended(number)

            with pytest.raises(websockets.ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == CloseReason.RESTART
            assert [line async for line in lines if line.startswith("data:")] == []

        assert_ended_well(ended)


@pytest.mark.parametrize("number", BOTH, ids=str)
async def test_a_process_that_waits_for_its_database_ends_at_once(
    embedded: Environment, hole: str, number: signal.Signals
) -> None:
    async with run({**embedded, "DATABASE_URL": hole}, module=MODULE) as process:
        await process.listens()

        assert_ended_well(await process.ended(number))


async def test_a_process_that_tries_its_database_again_ends_at_once(embedded: Environment, nothing: str) -> None:
    async with run({**embedded, "DATABASE_URL": nothing, "JOBS_LOG_LEVEL": "info"}, module=MODULE) as process:
        await process.complaint("attempt 2 of 6")

        ended = await process.ended(signal.SIGINT)

        assert ended.code == 0
        assert ended.seconds < BRISK_SECONDS
        ended.assert_no_traceback()


async def test_a_second_signal_ends_a_start_that_waits(embedded: Environment, hole: str) -> None:
    async with run({**embedded, "DATABASE_URL": hole}, module=MODULE) as process:
        await process.listens()
        process.tell(signal.SIGTERM)

        ended = await process.ended(signal.SIGTERM)

        assert ended.seconds < BRISK_SECONDS
        ended.assert_no_traceback()


async def test_a_database_that_can_not_be_reached_is_told_in_one_line(embedded: Environment, nothing: str) -> None:
    async with run({**embedded, "DATABASE_URL": nothing}, module=MODULE) as process:
        ended = await process.ended()

    assert ended.code == 1
    ended.assert_brief("database did not start", "refused", "Next: ")
    assert "hunter2" not in ended.complained


async def test_a_database_that_refuses_our_password_is_told_in_one_line(real: Environment, pool: ServicePool) -> None:
    address = urlsplit(real["DATABASE_URL"])
    wrong = address._replace(netloc=f"nobody:hunter2@{address.netloc.rpartition('@')[2]}")
    async with run({**real, "DATABASE_URL": urlunsplit(wrong)}, module=MODULE) as process:
        ended = await process.ended()

    assert ended.code == 1
    ended.assert_brief("database did not start", "nobody", "Next: ")
    assert "hunter2" not in ended.complained
