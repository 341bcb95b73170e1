"""The tests against a real model, held against stand-ins for one: green where it does as models do, red where it doesn't.

They are a run inside this one, and use its services: given from outside, those are neither broken nor ended by it.
"""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from app.settings import ROOT
from test_framework.service_pool import ServicePool
from tests.agents.full.model.endpoint import ChatServer, Reply, refuses, says

pytestmark = pytest.mark.timeout(150)

SUITE = "tests/agents/full/model/test_real_model.py"
KEY = "sk-of-the-stand-in"
RUN_SECONDS = 120.0


class StandIn(ChatServer):
    """Calls the tool that it is asked to call, unless it is a lazy one; turns away whoever has another key."""

    lazy = False

    async def _reply(self, reply: Reply, writer: asyncio.StreamWriter) -> bool:
        return await super()._reply(self._choose(), writer)

    def _choose(self) -> Reply:
        if self.headers[-1].get("authorization") != f"Bearer {KEY}":
            return refuses(401, words="no such key")
        last = self.said_last()[-1]
        if last["role"] == "tool":
            return says("4")
        if "count_words" in str(last["content"]) and not self.lazy:
            return says(None, ("count_words", '{"text": "one two three four"}'))
        return says("Hello. It is 4.")


@pytest.fixture
def services(pool: ServicePool) -> dict[str, str]:
    """What leads another run to the services of this one."""
    postgres, redis = pool.get_all("postgres", "redis")
    return {"SERVICES": "external", "DATABASE_URL": postgres.url, "REDIS_URL": redis.url}


async def run_against(stand_in: StandIn, services: dict[str, str]) -> tuple[int, str]:
    server = await asyncio.start_server(stand_in.serve, "127.0.0.1", 0)
    stand_in.port = server.sockets[0].getsockname()[1]
    given = {"APP_MODEL_URL": stand_in.url, "APP_MODEL_KEY": KEY, "APP_MODEL_NAME": "tiny"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    async with server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pytest", "--mode=full", "--no-record", "-q", SUITE),
            cwd=ROOT,
            env={**environment, **services, **given, "TEST_MODE": ""},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(process.communicate(), RUN_SECONDS)
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_a_model_that_does_as_models_do_is_green(services: dict[str, str]) -> None:
    code, said = await run_against(StandIn([says("")]), services)

    assert code == 0, said
    assert "3 passed" in said


async def test_a_model_that_never_calls_a_tool_is_red(services: dict[str, str]) -> None:
    lazy = StandIn([says("")])
    lazy.lazy = True

    code, said = await run_against(lazy, services)

    assert code == 1, said
    assert "FAILED" in said
    assert "test_a_run_shows_its_events_in_order_and_the_tools_it_called" in said
    assert "2 passed" in said
