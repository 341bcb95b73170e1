"""The service without a server: the same application, asked in this process."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import httpx
import pytest
from fastapi import FastAPI

from commitstream.engine import Engine
from commitstream.lifecycle.startup import StartupManager
from commitstream.tests.jobs.application import JobsSettings, create_app
from test_framework.servers import InLoopServer, in_loop
from test_framework.users import TestUserContext

DEADLINE_SECONDS = 5.0
PROBLEM = "application/problem+json"

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Inside:
    """One application, and somebody who asks it."""

    app: FastAPI
    client: httpx.AsyncClient
    settings: JobsSettings
    somebody: str = "ada"

    def for_somebody_new(self) -> Inside:
        return replace(self, somebody=f"ada-{secrets.token_hex(4)}")

    @property
    def engine(self) -> Engine:
        return cast("Engine", self.app.state.engine)

    @property
    def startup(self) -> StartupManager:
        return cast("StartupManager", self.app.state.startup)

    def user(self, user_id: str = "") -> dict[str, str]:
        """The headers of somebody who is signed in."""
        return bearer(TestUserContext(self.settings, user_id or self.somebody).token)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def open_up(settings: JobsSettings, app: FastAPI | None = None) -> AsyncIterator[Inside]:
    """Begin to start the application, and stop it when the block ends."""
    app = app or create_app(settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        yield Inside(app, client, settings)


@asynccontextmanager
async def started(settings: JobsSettings) -> AsyncIterator[Inside]:
    """Start the application, and stop it when the block ends."""
    async with open_up(settings) as inside:
        await inside.startup.wait_ready(DEADLINE_SECONDS)
        yield inside


def jobs_in_loop(settings: JobsSettings) -> AbstractAsyncContextManager[InLoopServer]:
    """Serve the jobs in this event loop until the block ends."""
    return in_loop(settings, create_app(settings))


async def eventually(ask: Callable[[], Awaitable[Answer]], good: Callable[[Answer], object]) -> Answer:
    """Ask until the answer is good; a time-out says what the last answer was."""
    last = await ask()
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                if good(last):
                    return last
                await asyncio.sleep(0.005)
                last = await ask()
    except TimeoutError:
        raise AssertionError(f"not within {DEADLINE_SECONDS:g} s; the last answer was {last!r}") from None


async def left_over(server: InLoopServer) -> list[str]:
    """What sockets and streams have left in a server: tasks by name, and watchers."""
    names = [task.get_name() for task in asyncio.all_tasks()]
    tasks = [name for name in names if name.startswith(("socket:", "stream:", "hub: lead"))]
    return [*tasks, *(["a watcher"] * server.engine.hub.watchers)]


def assert_problem(answer: httpx.Response, status: int, *words: str) -> None:
    """An error as every error is told: a problem with the request's id, and nothing of our insides."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    assert answer.headers["x-request-id"]
    problem = answer.json()
    assert problem["status"] == status
    assert {"title", "detail", "type"} <= problem.keys()
    for inside in ("Traceback", "SELECT", "sqlalche", ".py"):
        assert inside not in answer.text
    for word in words:
        assert word in answer.text


@asynccontextmanager
async def nothing_goes_wrong(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """No error is logged, and none reaches the event loop."""
    loop = asyncio.get_running_loop()
    unhandled: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    try:
        with caplog.at_level(logging.ERROR):
            yield
    finally:
        loop.set_exception_handler(None)
    assert unhandled == []
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
