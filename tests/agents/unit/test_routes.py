"""The routes of runs: what they refuse, what a user sees of others', and what a run keeps of the request that began it."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from datetime import timedelta, timezone
from typing import Any, cast

import pytest
import pytest_asyncio

from app.main import create_app
from app.settings import Settings
from commitstream.service.logs import JsonLines
from commitstream.topics import user_stream
from test_framework import SERVICE
from test_framework.servers import InLoopServer, in_loop
from test_framework.settings import settings_for_tests
from test_framework.users import TestUserContext
from tests.agents.context import AgentsContext

PROBLEM = "application/problem+json"
LOOKALIKES = ("Ada", "ADA", "ada ", "ada:ada", "*", "ad?", "a[d]a", "user:ada", "\uff41da", "ada\u0301", "\u0430da")


@pytest.fixture(scope="module")
def described() -> dict[str, dict[str, Any]]:
    """The operations that OpenAPI tells of."""
    paths = create_app(settings_for_tests()).openapi()["paths"]
    return {f"{method.upper()} {path}": told for path, methods in paths.items() for method, told in methods.items()}


def test_every_route_is_described_in_a_sentence(described: dict[str, dict[str, Any]]) -> None:
    assert [name for name, told in described.items() if not told.get("description")] == []


def test_every_error_is_described_as_a_problem(described: dict[str, dict[str, Any]]) -> None:
    for name, told in described.items():
        for status, answer in told["responses"].items():
            if int(status) >= 400 and not name.startswith("GET /health"):
                assert list(answer["content"]) == [PROBLEM], f"{name} {status}"


def test_all_that_belongs_to_a_user_needs_a_token(described: dict[str, dict[str, Any]]) -> None:
    for name, told in described.items():
        needs_one = "/api/" in name and "/api/dev/" not in name
        assert bool(told.get("security")) == needs_one, name


WRONG: dict[str, tuple[int, str, str, dict[str, Any]]] = {
    "a run that is not there": (404, "GET", "/api/runs/abc", {}),
    "a file that is not there": (404, "GET", "/web/nowhere.js", {}),
    "a file outside": (404, "GET", "/web/..%2f..%2fmain.py", {}),
    "a field too many": (422, "POST", "/api/runs", {"json": {"message": "a", "b": 1}}),
    "a run's id with a stranger in it": (422, "GET", "/api/runs/'--", {}),
    "a run's id with a line break": (422, "GET", "/api/runs/abc%0a", {}),
    "an invalid cursor": (422, "GET", "/api/runs/abc/events?after=1_0", {}),
    "a page too long": (422, "GET", "/api/runs?limit=501", {}),
    "a moment in seconds": (422, "GET", "/api/runs?before=0.5", {}),
    "a moment nowhere": (422, "GET", "/api/runs?before=2026-01-01T00:00:00", {}),
    "a moment before all": (422, "GET", "/api/runs?before=0001-01-01T00:00:00%2B10:00", {}),
    "an invalid time": (422, "GET", "/api/runs?before=yesterday", {}),
    "a key with a space": (422, "POST", "/api/runs", {"json": {"message": "a"}, "headers": {"Idempotency-Key": "a b"}}),
    "a method that is not there": (405, "PUT", "/api/runs/abc/cancel", {}),
}


@pytest.mark.parametrize(("status", "method", "path", "more"), WRONG.values(), ids=WRONG)
async def test_what_is_wrong_is_told_as_a_problem(
    ada: AgentsContext, status: int, method: str, path: str, more: dict[str, Any]
) -> None:
    answer = await ada.client.request(method, path, **more)

    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM), answer.text


async def test_a_key_that_was_used_for_another_message_is_a_conflict(ada: AgentsContext) -> None:
    await ada.client.start_run("first", key="one")

    answer = await ada.client.request(
        "POST", "/api/runs", json={"message": "second"}, headers={"Idempotency-Key": "one"}
    )

    assert (answer.status_code, answer.headers["content-type"]) == (409, PROBLEM)
    assert "take a new Idempotency-Key" in answer.text


async def test_moments_are_compared_as_moments_whatever_their_zone(ada: AgentsContext) -> None:
    run = await ada.client.start_run("hello")
    here = run.created_at.astimezone(timezone(timedelta(hours=9)))

    for before, found in {here: 0, here + timedelta(seconds=1): 1}.items():
        assert len(await ada.client.runs(before=before)) == found


async def test_the_page_is_framed_by_nobody_and_keeps_its_own_headers(ada: AgentsContext) -> None:
    headers = (await ada.client.request("GET", "/")).headers

    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-cache"


@pytest_asyncio.fixture
async def own(settings: Settings) -> AsyncIterator[InLoopServer]:
    """A service of a test's own, whose users may have any name."""
    async with in_loop(settings) as server:
        yield server


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/events"), ("POST", "/cancel")])
async def test_the_run_of_another_does_not_exist(own: InLoopServer, method: str, path: str) -> None:
    async with named(own, "ada") as ada:
        run = await ada.start_run("!stall 30")

        for name in LOOKALIKES:
            async with named(own, name) as stranger:
                answer = await stranger.client.request(method, f"/api/runs/{run.id}{path}")
                nowhere = await stranger.client.request(method, f"/api/runs/{'0' * 32}{path}")

            assert answer.status_code == 404
            assert answer.text.replace(run.id, "") == nowhere.text.replace("0" * 32, "")
        assert (await ada.client.run(run.id)).status == "running"


def named(server: InLoopServer, name: str) -> AgentsContext:
    return AgentsContext(server, TestUserContext(server.settings, name))


async def test_everybody_lists_their_own_runs_alone(own: InLoopServer) -> None:
    for name in LOOKALIKES:
        async with named(own, name) as user:
            run = await user.start_run("hello", key="one")

            assert (await user.start_run("hello", key="one")).id == run.id
            assert [found.id for found in await user.client.runs()] == [run.id]


async def test_the_events_of_a_run_carry_the_ids_of_its_request(ada: AgentsContext) -> None:
    await ada.run_agent("hello")

    journal = cast("InLoopServer", ada.server).engine.journal
    kept = [await journal.metadata(user_stream(ada.user.id), seq) for seq in range(1, 6)]
    assert kept == [{"request_id": f"{ada.user.session_id}-1", "trace_id": ada.user.thread_id}] * 5


async def test_what_a_run_logs_carries_its_run_and_the_request_that_began_it(
    own: InLoopServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(message: str, turn: object) -> str:
        raise RuntimeError("broken")

    monkeypatch.setattr(own.app.state.runner._model, "answer", broken)
    written: list[dict[str, Any]] = []
    lines = JsonLines()
    handler = logging.Handler()
    handler.emit = lambda record: written.append(json.loads(lines.format(record)))  # type: ignore[method-assign]
    loggers = [logging.getLogger(package) for package in SERVICE]
    for logger in loggers:
        caplog.set_level(logging.INFO, logger.name)
        logger.addHandler(handler)
    async with named(own, "ada") as ada:
        run = await ada.run_agent("hello")
        await ada.client.request("GET", "/nowhere", headers={"X-Request-ID": "another"})
    for logger in loggers:
        logger.removeHandler(handler)

    [failed] = [line for line in written if line["level"] == "error"]
    assert (failed["run_id"], failed["request_id"]) == (run.id, f"{ada.user.session_id}-1")
    assert "RuntimeError: broken" in failed["exception"]
    [another] = [line for line in written if line.get("request_id") == "another"]
    assert "run_id" not in another
