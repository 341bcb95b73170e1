"""How the process begins and ends, whatever it is doing when it is told to."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest

from test_framework.running.service_process import DEADLINE_SECONDS, EndedProcess, run
from test_framework.service_pool import ServicePool
from tests.agents.client import AgentsClient

BRISK_SECONDS = 4.0  # a process that waited for its database would take five; a busy machine takes over two
BOTH = [signal.SIGINT, signal.SIGTERM]
SECRET = secrets.token_urlsafe(48)

Environment = Mapping[str, str]


@pytest.fixture
def embedded(tmp_path: Path) -> dict[str, str]:
    """Nothing real, nothing of the developer's, a port of its own."""
    return {
        "DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/app.db",
        "REDIS_URL": "",
        "APP_PORT": "0",
        "APP_TOKEN_SECRET": SECRET,
    }


@pytest.fixture
def real(database_url: str, redis_url: str) -> dict[str, str]:
    """A real Postgres and a real Redis."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "APP_CHANNEL_PREFIX": f"test-{secrets.token_hex(4)}",
        "APP_PORT": "0",
        "APP_TOKEN_SECRET": SECRET,
    }


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def assert_ended_well(ended: EndedProcess) -> None:
    assert ended.code == 0, ended.complained
    assert ended.complained == ""
    assert ended.seconds < BRISK_SECONDS


async def test_a_second_signal_ends_a_drain_that_waits(embedded: Environment) -> None:
    production = {**embedded, "APP_ENVIRONMENT": "production", "APP_SHUTDOWN_TIMEOUT_SECONDS": "60"}
    async with run(production) as process:
        url = await process.url()
        async with AgentsClient(url, production_token()) as ada:
            await ada.start_run("!stall 50")
            process.tell(signal.SIGTERM)
            await drains(ada)

            ended = await process.ended(signal.SIGTERM)

        assert ended.seconds < BRISK_SECONDS
        assert ended.code != 0
        ended.assert_no_traceback()


async def drains(client: AgentsClient) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (await client.ready()).status != "draining":  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def production_token() -> str:
    from app.settings import load_settings
    from commitstream.service.tokens import Tokens

    return Tokens(load_settings(None, {"token_secret": SECRET})).issue("ada")


async def test_a_run_at_work_is_waited_for_and_its_watcher_is_shown_its_end(embedded: Environment) -> None:
    production = {**embedded, "APP_ENVIRONMENT": "production", "APP_SHUTDOWN_TIMEOUT_SECONDS": "10"}
    async with run(production) as process:
        url = await process.url()
        headers = {"Authorization": f"Bearer {production_token()}"}
        async with (
            AgentsClient(url, production_token()) as ada,
            httpx.AsyncClient(base_url=url, trust_env=False, headers=headers) as client,
            client.stream("GET", "/api/events?after=0", timeout=DEADLINE_SECONDS) as stream,
        ):
            await ada.start_run("!stall 0.5")
            process.tell(signal.SIGTERM)

            events = [line async for line in stream.aiter_lines() if line.startswith("data:")]

        assert '"status":"completed"' in events[-1]
        assert (await process.ended()).code == 0


async def test_migrations_that_are_behind_are_told_in_one_line_with_the_remedy(
    real: Environment, pool: ServicePool
) -> None:
    empty = urlsplit(pool.get("postgres").url)._replace(scheme="postgresql+asyncpg", path="/template1")
    async with run({**real, "DATABASE_URL": urlunsplit(empty)}) as process:
        ended = await process.ended()

    assert ended.code == 1
    ended.assert_brief("migrations did not start", "at migration none", "python -m app migrate")


async def test_a_taken_port_in_dev_goes_on_to_the_next_and_says_so(embedded: Environment, taken: int) -> None:
    async with run({**embedded, "APP_PORT": str(taken)}) as process:
        assert urlsplit(await process.url()).port != taken
        assert f"port {taken} is taken" in await process.line("note")


async def test_a_taken_port_in_production_is_told_in_one_line(embedded: Environment, taken: int) -> None:
    async with run({**embedded, "APP_PORT": str(taken), "APP_ENVIRONMENT": "production"}) as process:
        ended = await process.ended()

    assert ended.code == 2
    ended.assert_brief(f"port {taken} of 127.0.0.1 is taken", "APP_PORT")


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
async def test_an_address_that_is_not_ours_is_told_in_one_line(embedded: Environment, host: str) -> None:
    async with run({**embedded, "APP_HOST": host, "APP_ENVIRONMENT": "production"}) as process:
        ended = await process.ended()

    assert ended.code == 2
    ended.assert_brief("can't listen on port 0 of", host)


async def test_settings_that_can_not_be_used_end_it_with_lines_that_name_them(embedded: Environment) -> None:
    async with run({**embedded, "APP_PORT": "x", "APP_LOG_LEVEL": "loud"}) as process:
        ended = await process.ended()

    assert ended.code == 2
    assert "APP_PORT" in ended.complained
    assert "APP_LOG_LEVEL" in ended.complained
    ended.assert_no_traceback()
