"""A cursor is ASCII digits; everything else is refused with the rule, on every route."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
import websockets

from commitstream.journal import LARGEST_NUMBER
from commitstream.tests.jobs.inside import Inside, assert_problem
from test_framework.servers import InLoopServer
from test_framework.users import TestUserContext

RULE = "digits 0 to 9"
NO_CURSORS = [
    " 1_0",
    "1_0",
    " 1",
    "1 ",
    "+5",
    "-1",
    "٣",
    "\uff11",
    "²",
    "1.0",
    "1e3",
    "0x1",
    str(2**63),
    "9" * 5000,
    "",
]


@pytest.mark.parametrize("text", NO_CURSORS, ids=lambda text: ascii(text)[:20])
async def test_pages_and_streams_refuse_what_is_no_cursor(inside: Inside, text: str) -> None:
    for path in ("/api/events", "/api/jobs/abc/events"):
        answer = await inside.client.get(f"{path}?after={quote(text)}", headers=inside.user())

        assert_problem(answer, 422, RULE)


@pytest.mark.parametrize("text", ["1_0", "+5", "1.0", "9" * 50])
async def test_a_stream_refuses_a_last_event_id_that_is_no_cursor(inside: Inside, text: str) -> None:
    answer = await inside.client.get("/api/events", headers=inside.user() | {"Last-Event-ID": text})

    assert_problem(answer, 422, RULE)


@pytest.mark.parametrize("text", NO_CURSORS, ids=lambda text: ascii(text)[:20])
async def test_a_socket_refuses_what_is_no_cursor(watched: InLoopServer, text: str) -> None:
    user = TestUserContext.of(watched.settings)
    url = watched.url.replace("http", "ws") + f"/ws?after={quote(text)}"

    async with websockets.connect(url, proxy=None) as socket:
        await socket.send(json.dumps({"token": user.token}))
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4400
    assert RULE in closed.value.rcvd.reason


@pytest.mark.parametrize("text", ["0", "00", "007"])
async def test_digits_are_a_cursor(inside: Inside, text: str) -> None:
    answer = await inside.client.get(f"/api/jobs/abc/events?after={text}", headers=inside.user())

    assert_problem(answer, 404)


async def test_the_description_states_the_range_of_a_cursor(inside: Inside) -> None:
    paths = (await inside.client.get("/openapi.json")).json()["paths"]
    parameters = [
        each for path in ("/api/jobs/{job_id}/events", "/api/events") for each in paths[path]["get"]["parameters"]
    ]
    cursors = [each["schema"] for each in parameters if each["name"] in {"after", "last-event-id"}]

    ranges = [(one["minimum"], one["maximum"]) for schema in cursors for one in schema.get("anyOf", [schema])[:1]]

    assert ranges == [(0, LARGEST_NUMBER)] * 3
