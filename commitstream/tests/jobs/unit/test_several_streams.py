"""One socket that watches several streams: each is admitted, refused and ended by itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from commitstream.tests.jobs.application import JobsSettings
from commitstream.tests.jobs.lots import Lots, auction, bid, take_rights
from commitstream.tests.jobs.wire import CLOSE, TEXT, Wire, frame, wire
from test_framework.servers import InLoopServer, token

ADA = "ada"
OWN, LOT, OTHERS = "user:ada", "lot:42", "user:bob"


@pytest.fixture
def lots() -> Lots:
    return Lots({ADA})


@pytest_asyncio.fixture
async def server(settings: JobsSettings, lots: Lots) -> AsyncIterator[InLoopServer]:
    async with auction(settings, lots) as running:
        yield running


async def watching(client: Wire, server: InLoopServer, **watch: int | None) -> dict[str, object]:
    await client.handshake()
    return await client.introduce(token(server.settings, ADA), watch=watch)


async def said(client: Wire, count: int) -> list[dict[str, object]]:
    """The next messages; a close is shown as its code."""
    messages = list[dict[str, object]]()
    for _ in range(count):
        opcode, payload = await client.next()
        messages.append({"closed": int.from_bytes(payload[:2], "big")} if opcode == CLOSE else json.loads(payload))
    return messages


def ended(message: dict[str, object]) -> tuple[object, object]:
    assert message["type"] == "ended"
    return message["stream"], message["code"]


@pytest.mark.parametrize("order", [(OTHERS, OWN), (OWN, OTHERS)], ids=["refused first", "refused last"])
async def test_a_refused_stream_leaves_the_others_watched(server: InLoopServer, order: tuple[str, str]) -> None:
    async with wire(server) as client:
        hello = await watching(client, server, **dict.fromkeys(order))
        first, second = await said(client, 2)
        await client.send(frame(TEXT, b'{"type": "ping"}'))

        assert hello["streams"] == {OWN: 0}
        assert first == {"type": "live", "stream": OWN, "cursor": 0}
        assert ended(second) == (OTHERS, 4403)
        assert await said(client, 1) == [{"type": "pong"}]


async def test_a_cursor_ahead_ends_its_own_stream_alone(server: InLoopServer) -> None:
    await bid(server.engine, "42", 10)
    async with wire(server) as client:
        hello = await watching(client, server, **{LOT: 7, OWN: 0})
        first, second = await said(client, 2)
        await client.send(frame(TEXT, json.dumps({"type": "subscribe", "stream": LOT, "after": 0}).encode()))
        subscribed, event, live = await said(client, 3)

    assert hello["streams"] == {LOT: 7, OWN: 0}
    assert (first["type"], ended(second)) == ("live", (LOT, 4410))
    assert subscribed == {"type": "subscribed", "stream": LOT, "cursor": 0}
    assert (event["stream"], event["seq"], live["cursor"]) == (LOT, 1, 1)


async def test_streams_refused_together_close_with_the_last_code(server: InLoopServer) -> None:
    async with wire(server) as client:
        hello = await watching(client, server, **{"stage:1": None, "nonsense": None, OTHERS: None})
        *messages, closed = await said(client, 4)

    assert hello["streams"] == {}
    assert [ended(message) for message in messages] == [("stage:1", 4404), ("nonsense", 4404), (OTHERS, 4403)]
    assert closed == {"closed": 4403}


async def test_the_head_of_a_stream_is_shown_to_nobody_without_the_right(server: InLoopServer) -> None:
    await bid(server.engine, "42", 10, 20)
    async with wire(server) as client:
        await client.handshake()
        hello = await client.introduce(token(server.settings, "eve"), watch={LOT: None})
        (refusal,) = await said(client, 1)

    assert hello["streams"] == {}
    assert ended(refusal) == (LOT, 4403)


@pytest.mark.parametrize("name", ["user:\0", "user:a\nb", ":", "user:", "Lot:42", "lot:" + "x" * 201])
async def test_a_name_that_is_none_is_an_unknown_stream(server: InLoopServer, name: str) -> None:
    async with wire(server) as client:
        await watching(client, server, **{name: None})
        refusal, closed = await said(client, 2)

    assert ended(refusal) == (name, 4404)
    assert closed == {"closed": 4404}


@pytest.mark.parametrize("after", [None, 0, 1], ids=["what is to come", "everything", "the change itself"])
@pytest.mark.parametrize("way", ["hello", "subscribe", "stream"])
async def test_a_right_lost_while_it_is_asked_for_shows_nothing(
    server: InLoopServer, lots: Lots, way: str, after: int | None
) -> None:
    async def change() -> None:
        await take_rights(server.engine, lots, "42")

    async with wire(server) as client:
        if way == "subscribe":
            await watching(client, server, **{OWN: 0})
            await said(client, 1)
        lots.before_answer = change
        if way == "hello":
            await watching(client, server, **{LOT: after})
        elif way == "subscribe":
            await client.send(frame(TEXT, json.dumps({"type": "subscribe", "stream": LOT, "after": after}).encode()))
        else:
            query = "" if after is None else f"&after={after}"
            head = f"GET /api/events?stream={LOT}{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            await client.send(f"{head}Authorization: Bearer {token(server.settings, ADA)}\r\n\r\n".encode())
            assert "event: ended" in await client.body()
            return

        while (message := (await said(client, 1))[0])["type"] != "ended":
            assert message["type"] in {"subscribed", "rights_changed"}
        assert ended(message) == (LOT, 4403)
