"""What a test may ask for. Each fixture's docstring names the trouble it spares."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from test_framework.modes import Mode
from test_framework.running.needs import requires

if TYPE_CHECKING:
    from test_framework.faults.skewed_clock import Clock
    from test_framework.servers import Server

MakeSettings = Callable[..., Any]
Serve = Callable[[Any], AbstractAsyncContextManager["Server"]]


@pytest.fixture
def make_settings(database_url: str, redis_url: str, redis_namespace: str) -> MakeSettings:
    """Settings for the service under test: this test's database, channels and secret; the rest is the file's for tests."""
    from test_framework.project import project
    from test_framework.settings import settings_for_tests

    own = project().settings_of_each_test(database_url, redis_url, redis_namespace, secrets.token_urlsafe(48))
    return lambda **changed: settings_for_tests(**own | changed)


@pytest.fixture
def settings(make_settings: MakeSettings) -> Any:
    """The settings of the service under test."""
    return make_settings()


@pytest.fixture
def server_processes() -> int:
    """How many processes the service runs as in full; a module that wants another number names its own."""
    return 2


@pytest.fixture(scope="session")
def serve(mode: Mode) -> Serve:
    """How a test runs one server itself, on settings of its choice: in this loop, or in full as a process of its own."""
    from test_framework.servers import in_loop, in_process

    return in_process if mode is Mode.FULL else in_loop


@pytest.fixture(scope="session")
@requires("model")
def real_model() -> dict[str, Any]:
    """The settings of the endpoint that the environment names; a test that asks for them needs a real model."""
    from test_framework.modes import MODEL_VARIABLES

    url, key, name = (os.environ[variable] for variable in MODEL_VARIABLES)
    return {"model": "openai", "model_url": url, "model_key": key, "model_name": name}


@pytest_asyncio.fixture
async def server(
    request: pytest.FixtureRequest, mode: Mode, settings: Any, server_processes: int
) -> AsyncIterator[Server]:
    """The service under test, running behind its own server: in this loop, or in full as several processes behind one door."""
    from test_framework.servers import in_loop, in_process, in_processes

    async with AsyncExitStack() as stack:
        if "clock" in request.fixturenames:
            skewed: Clock = request.getfixturevalue("clock")
            yield await stack.enter_async_context(in_process(settings, skewed.environment))
            return
        serving = in_processes(settings, server_processes) if mode is Mode.FULL else in_loop(settings)
        running: Server = await stack.enter_async_context(serving)
        yield running


@pytest.fixture(autouse=True)
def _overrides_are_undone() -> Iterator[None]:
    """A dependency that stays replaced in a server which outlives the test fails the test that replaced it."""
    yield
    overrides = sys.modules.get("test_framework.overrides")
    if overrides is not None and (left := overrides.take_back()):
        pytest.fail(
            f"this test left dependencies replaced: {', '.join(left)}\n"
            "  next: with overridden(server.app, dependency, replacement): … (test_framework/overrides.py)",
            pytrace=False,
        )
