"""Logs that can be followed: one line is one JSON object, with the ids of the work it was written for."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from commitstream.service import logs
from commitstream.service.logs import JsonLines, Lines
from commitstream.tests.jobs.inside import Inside
from commitstream.topics import user_stream
from test_framework import SERVICE

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Written:
    """What a formatter made of everything that was logged."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)
        self.handler.setFormatter(formatter)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def written(request: pytest.FixtureRequest) -> Iterator[Written]:
    """Everything that the packages of the service log, as JSON lines."""
    written = Written(JsonLines())
    levels = {logger: logger.level for logger in map(logging.getLogger, SERVICE)}
    for logger in levels:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(written.handler)
    yield written
    for logger, level in levels.items():
        logger.removeHandler(written.handler)
        logger.setLevel(level)


async def test_a_request_is_logged_with_its_ids(inside: Inside, written: Written) -> None:
    headers = {"X-Request-ID": "my-request", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}

    await inside.client.get("/nowhere", headers=headers)

    [line] = written.lines
    assert line["message"].startswith("GET /nowhere 404 in ")
    assert (line["request_id"], line["trace_id"]) == ("my-request", TRACE)
    assert {"at", "level", "logger"} <= line.keys()


async def test_events_carry_the_ids_of_its_request(own: Inside) -> None:
    headers = own.user() | {"X-Request-ID": "began-it", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}

    await own.client.post("/api/jobs", json={"message": "hello"}, headers=headers)
    stream = user_stream(own.somebody)

    kept = [await own.engine.journal.metadata(stream, seq) for seq in range(1, 6)]
    assert kept == [{"request_id": "began-it", "trace_id": TRACE}] * 5


async def test_no_token_is_ever_logged(inside: Inside, written: Written) -> None:
    headers = inside.user()
    token = headers["Authorization"].removeprefix("Bearer ")

    await inside.client.get(f"/api/jobs?token={token}", headers=headers)
    await inside.client.get("/api/jobs", headers={"Authorization": f"Bearer x{token}"})
    await inside.client.post("/api/dev/token", json={"user": "ada"})

    assert len(written.lines) == 3
    assert token not in written.text
    assert inside.settings.signing_key not in written.text


async def test_a_path_forges_no_line(inside: Inside, written: Written) -> None:
    await inside.client.get("/nowhere%0a2026-01-01%20ERROR%20app:%20all%20is%20lost%0d%1b[2J")

    [line] = written.lines
    assert "\n" not in line["message"]
    assert "\x1b" not in line["message"]


ODD_MESSAGES = ["two\nlines", 'quotes " and \\', "\x00\x1b[31m", "Zoë 日本", "\ud800 half a character", "%s %d", ""]


@pytest.mark.parametrize("message", ODD_MESSAGES, ids=ascii)
@pytest.mark.parametrize("problem", [None, ValueError("bad\nnews \ud800")], ids=["plain", "with an exception"])
def test_whatever_is_logged_is_one_line_of_json(message: str, problem: Exception | None) -> None:
    written = Written(JsonLines())
    failed = (ValueError, problem, None) if problem else None

    written.handler.handle(logging.LogRecord("app", logging.INFO, __file__, 1, message, (), failed))

    [line] = written.lines
    assert line["message"] == message
    assert ("exception" in line) == (problem is not None)


def test_lines_for_people_end_in_the_ids_of_run_and_request() -> None:
    written = Written(Lines("%(levelname)s %(message)s"))
    tokens = logs.request_id.set("abcdefghijk"), logs.run_id.set("0123456789")

    written.handler.handle(logging.LogRecord("app", logging.INFO, __file__, 1, "done", (), None))

    assert written.text == "INFO done request=abcdefgh run=01234567\n"
    logs.request_id.reset(tokens[0])
    logs.run_id.reset(tokens[1])
