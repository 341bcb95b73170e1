"""Every error is a problem: it says what went wrong and what to do, carries the request's id, and shows nothing of our insides."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import anyio.to_thread
import httpx
import pytest
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError

from commitstream.db.database import NotADatabaseError
from commitstream.tests.jobs.inside import Inside, assert_problem

Ask = Callable[[Inside], Awaitable[httpx.Response]]

WRONG: dict[str, tuple[int, Ask]] = {
    "a path that is not there": (404, lambda i: i.client.get("/nowhere")),
    "a file that is not there": (404, lambda i: i.client.get("/files/nowhere.js")),
    "a file outside": (404, lambda i: i.client.get("/files/..%2f..%2fmain.py")),
    "a job that is not there": (404, lambda i: i.client.get("/api/jobs/abc", headers=i.user())),
    "a method that is not there": (405, lambda i: i.client.delete("/api/jobs")),
    "an unknown method": (405, lambda i: i.client.request("BREW", "/api/jobs")),
    "no body": (422, lambda i: i.client.post("/api/jobs", headers=i.user())),
    "no JSON": (422, lambda i: i.client.post("/api/jobs", content="{", headers=i.user())),
    "no object": (422, lambda i: i.client.post("/api/jobs", json=["hello"], headers=i.user())),
    "deep JSON": (422, lambda i: i.client.post("/api/jobs", content="[" * 100_000, headers=i.user())),
    "a field too many": (422, lambda i: i.client.post("/api/jobs", json={"message": "a", "b": 1}, headers=i.user())),
    "a number for a text": (422, lambda i: i.client.post("/api/jobs", json={"message": 1}, headers=i.user())),
    "an empty text": (422, lambda i: i.client.post("/api/jobs", json={"message": ""}, headers=i.user())),
    "a NUL": (422, lambda i: i.client.post("/api/jobs", json={"message": "a\0b"}, headers=i.user())),
    "half a character": (422, lambda i: i.client.post("/api/jobs", content='{"message":"\\ud800"}', headers=i.user())),
    "bytes that are no text": (422, lambda i: i.client.post("/api/jobs", content=b'{"message":"\xff"}', headers=i.user())),
    "a job's id with a stranger in it": (422, lambda i: i.client.get("/api/jobs/'--", headers=i.user())),
    "a job's id with a line break": (422, lambda i: i.client.get("/api/jobs/abc%0a", headers=i.user())),
    "a cursor below 0": (422, lambda i: i.client.get("/api/events?after=-1", headers=i.user())),
    "a cursor beyond every number": (422, lambda i: i.client.get(f"/api/events?after={10**30}", headers=i.user())),
    "a cursor in words": (422, lambda i: i.client.get("/api/events", headers=i.user() | {"Last-Event-ID": "last"})),
    "a cursor ahead of everything": (409, lambda i: i.client.get("/api/events?after=9", headers=i.user())),
    "a page too long": (422, lambda i: i.client.get("/api/jobs?limit=501", headers=i.user())),
}  # fmt: skip


@pytest.mark.parametrize(("status", "ask"), [pytest.param(*case, id=name) for name, case in WRONG.items()])
async def test_what_is_wrong_is_told_as_a_problem(inside: Inside, status: int, ask: Ask) -> None:
    assert_problem(await ask(inside), status)


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/api/jobs", "GET, POST"), ("/api/jobs/abc", "GET"), ("/api/events", "GET")],
)
async def test_a_method_that_is_not_there_is_told_those_that_are(inside: Inside, path: str, methods: str) -> None:
    answer = await inside.client.put(path)

    assert_problem(answer, 405)
    assert answer.headers["allow"] == methods


async def test_a_fault_in_a_body_is_told_with_its_place_and_without_its_value(inside: Inside) -> None:
    body = {"message": ["private words"]}

    answer = await inside.client.post("/api/jobs", json=body, headers=inside.user())

    assert answer.json()["errors"][0]["where"] == ["body", "message"]
    assert "private words" not in answer.text


LOST = [
    OperationalError("SELECT secret FROM jobs", {}, OSError("connection refused")),
    InterfaceError("SELECT secret FROM jobs", {}, OSError("connection is closed")),
    ConnectionRefusedError("SELECT secret"),
    TimeoutError("SELECT secret"),
    NotADatabaseError("/secret/app.db is not a SQLite database"),
]


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
async def test_a_database_that_is_away_is_a_503_that_says_when_to_come_back(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(inside.app.state.jobs, "list", raising(error))

    answer = await inside.client.get("/api/jobs", headers=inside.user())

    assert_problem(answer, 503, "the database can't be reached")
    assert answer.headers["retry-after"] == "1"
    assert "secret" not in answer.text


FAULTS = [RuntimeError("secret is 4711"), ProgrammingError("SELECT secret", {}, Exception("no such column"))]


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
async def test_a_fault_of_ours_is_a_500_without_a_word_and_a_log_with_all_of_them(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    monkeypatch.setattr(inside.app.state.jobs, "list", raising(error))

    answer = await inside.client.get("/api/jobs", headers=inside.user() | {"X-Request-ID": "my-request"})

    assert_problem(answer, 500, "its log says why")
    assert answer.headers["x-request-id"] == "my-request"
    assert "secret" not in answer.text
    [logged] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert logged.getMessage() == "GET /api/jobs failed"
    assert logged.exc_info is not None
    assert logged.exc_info[1] is error


def raising(error: Exception) -> Callable[..., Awaitable[NoReturn]]:
    async def fail(*_: object, **__: object) -> NoReturn:
        await asyncio.sleep(0)
        raise error

    return fail


@pytest.mark.parametrize("given", ["a" * 65, "a\nb", "a b", "<script>", "", "ä"])
async def test_a_request_id_that_is_not_fit_to_be_logged_is_replaced(inside: Inside, given: str) -> None:
    answer = await inside.client.get("/health/live", headers=[(b"X-Request-ID", given.encode())])

    assert answer.headers["x-request-id"] not in {given, ""}


async def test_the_request_id_of_the_caller_is_kept_and_each_without_one_gets_its_own(inside: Inside) -> None:
    kept = await inside.client.get("/health/live", headers={"X-Request-ID": "trace:me-1.2_3"})
    one, two = [(await inside.client.get("/health/live")).headers["x-request-id"] for _ in range(2)]

    assert kept.headers["x-request-id"] == "trace:me-1.2_3"
    assert one != two


async def test_no_request_waits_for_a_thread(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """FastAPI runs a dependency that is not async in a thread, which takes longer than anything else here does."""
    hops: list[object] = []
    run_sync = anyio.to_thread.run_sync

    async def counted(call: Callable[..., object], *arguments: Any, **options: Any) -> object:
        hops.append(call)
        return await run_sync(call, *arguments, **options)

    monkeypatch.setattr(anyio.to_thread, "run_sync", counted)

    headers = inside.user()
    started = await inside.client.post("/api/jobs", json={"message": "hello"}, headers=headers)
    for path in ("/health/ready", "/health/startup", "/metrics", "/api/jobs", f"/api/jobs/{started.json()['id']}"):
        assert (await inside.client.get(path, headers=headers)).status_code == 200, path

    assert hops == []
