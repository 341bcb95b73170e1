"""Protocol 2: subscriptions that come, go and end one by one on a socket that stays open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from commitstream.events import RightsChanged
from commitstream.service.tokens import Tokens
from commitstream.tests.jobs.application import JobsSettings
from commitstream.tests.jobs.lots import Lots, auction, bid
from commitstream.tests.jobs.wire import CLOSE, TEXT, Wire, frame, wire
from commitstream.topics import Stream
from commitstream.transports import websocket as sockets
from test_framework.servers import InLoopServer, token

ADA, BOB = "ada", "bob"
OWN, LOT, SECOND = "user:ada", "lot:42", "lot:43"


@pytest.fixture
def guests() -> set[str]:
    return {ADA}


@pytest_asyncio.fixture(params=["written directly", "pumped"])
async def server(
    request: pytest.FixtureRequest, settings: JobsSettings, guests: set[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[InLoopServer]:
    """A server whose transport the sockets write to, and one that lends none."""
    if request.param == "pumped":
        monkeypatch.setattr(sockets, "get_protocol", lambda scope: None)
    async with auction(settings, Lots(guests)) as running:
        yield running


@asynccontextmanager
async def watching(server: InLoopServer, **watch: int | None) -> AsyncIterator[Wire]:
    """Open a socket of Ada's that watches streams, each from a cursor."""
    async with wire(server) as client:
        await client.handshake()
        hello = await client.introduce(token(server.settings, ADA), watch=watch)
        assert hello["type"] == "hello"
        yield client


async def say(client: Wire, **message: object) -> None:
    await client.send(frame(TEXT, json.dumps(message).encode()))


async def heard(client: Wire, count: int) -> list[dict[str, object]]:
    """The next messages, an event without what differs from run to run; a close is shown as its code."""
    messages = list[dict[str, object]]()
    for _ in range(count):
        opcode, payload = await client.next()
        message = {"closed": int.from_bytes(payload[:2], "big")} if opcode == CLOSE else json.loads(payload)
        messages.append({name: value for name, value in message.items() if name not in {"v", "at", "reason"}})
    return messages


def event(stream: str, seq: int, amount: int) -> dict[str, object]:
    return {"seq": seq, "stream": stream, "type": "bid_placed", "payload": {"amount": amount}}


def live(stream: str, cursor: int) -> dict[str, object]:
    return {"type": "live", "stream": stream, "cursor": cursor}


def ended(stream: str, code: int) -> dict[str, object]:
    return {"type": "ended", "stream": stream, "code": code}


async def change_rights(server: InLoopServer, key: str) -> None:
    async with server.engine.transaction() as session:
        await server.engine.append(session, Stream("lot", key), RightsChanged())


async def test_each_stream_is_replayed_from_its_own_cursor(server: InLoopServer) -> None:
    await bid(server.engine, "42", 10, 20, 30)
    await bid(server.engine, "43", 1, 2)

    async with watching(server, **{LOT: 2, SECOND: 0, OWN: None}) as client:
        messages = await heard(client, 6)
        await bid(server.engine, "42", 40)
        assert await heard(client, 1) == [event(LOT, 4, 40)]
        await bid(server.engine, "43", 3)
        assert await heard(client, 1) == [event(SECOND, 3, 3)]

    by_stream = {name: [message for message in messages if message["stream"] == name] for name in (LOT, SECOND, OWN)}
    assert by_stream == {
        LOT: [event(LOT, 3, 30), live(LOT, 3)],
        SECOND: [event(SECOND, 1, 1), event(SECOND, 2, 2), live(SECOND, 2)],
        OWN: [live(OWN, 0)],
    }


async def test_a_subscription_shows_what_was_and_what_comes(server: InLoopServer) -> None:
    await bid(server.engine, "42", 10, 20)
    async with watching(server) as client:
        await say(client, type="subscribe", stream=LOT, after=1)
        assert await heard(client, 3) == [
            {"type": "subscribed", "stream": LOT, "cursor": 1},
            event(LOT, 2, 20),
            live(LOT, 2),
        ]

        await bid(server.engine, "42", 30)

        assert await heard(client, 1) == [event(LOT, 3, 30)]


async def test_a_subscription_without_a_cursor_shows_what_comes(server: InLoopServer) -> None:
    await bid(server.engine, "42", 10)
    async with watching(server) as client:
        await say(client, type="subscribe", stream=LOT)
        assert await heard(client, 2) == [{"type": "subscribed", "stream": LOT, "cursor": 1}, live(LOT, 1)]

        await bid(server.engine, "42", 20)

        assert await heard(client, 1) == [event(LOT, 2, 20)]


async def test_an_unsubscribed_stream_is_shown_no_more(server: InLoopServer) -> None:
    async with watching(server, **{LOT: 0, SECOND: 0}) as client:
        await heard(client, 2)
        await say(client, type="unsubscribe", stream=LOT)
        assert await heard(client, 1) == [{"type": "unsubscribed", "stream": LOT}]
        await bid(server.engine, "42", 10)
        await bid(server.engine, "43", 1)
        assert await heard(client, 1) == [event(SECOND, 1, 1)]

        await say(client, type="subscribe", stream=LOT, after=0)

        assert await heard(client, 3) == [
            {"type": "subscribed", "stream": LOT, "cursor": 0},
            event(LOT, 1, 10),
            live(LOT, 1),
        ]


async def test_a_socket_that_left_all_its_streams_stays_open(server: InLoopServer) -> None:
    async with watching(server, **{LOT: 0}) as client:
        await heard(client, 1)
        await say(client, type="unsubscribe", stream=LOT)
        await say(client, type="unsubscribe", stream=LOT)
        await say(client, type="ping")

        assert await heard(client, 3) == [
            {"type": "unsubscribed", "stream": LOT},
            ended(LOT, 4404),
            {"type": "pong"},
        ]
        assert server.engine.hub.watchers == 0


async def test_a_second_subscription_of_a_stream_is_refused(server: InLoopServer) -> None:
    async with watching(server, **{LOT: 0}) as client:
        await heard(client, 1)
        await say(client, type="subscribe", stream=LOT, after=0)
        assert await heard(client, 1) == [ended(LOT, 4409)]

        await bid(server.engine, "42", 10)

        assert await heard(client, 1) == [event(LOT, 1, 10)]


@pytest.mark.parametrize(
    ("stream", "after", "code"),
    [("user:bob", 0, 4403), ("stage:1", 0, 4404), ("user:", 0, 4404), (SECOND, 1, 4410)],
    ids=["no right", "no topic", "no name", "ahead"],
)
async def test_a_failed_subscription_ends_alone(server: InLoopServer, stream: str, after: int, code: int) -> None:
    async with watching(server, **{LOT: 0}) as client:
        await heard(client, 1)
        await say(client, type="subscribe", stream=stream, after=after)
        await say(client, type="ping")
        messages = await heard(client, 3 if code == 4410 else 2)

        assert [message for message in messages if message["type"] != "subscribed"] == [
            ended(stream, code),
            {"type": "pong"},
        ]


async def test_the_last_failed_subscription_closes_the_socket(server: InLoopServer) -> None:
    async with watching(server) as client:
        await say(client, type="subscribe", stream="user:bob", after=0)

        assert await heard(client, 2) == [ended("user:bob", 4403), {"closed": 4403}]


async def test_more_subscriptions_than_allowed_are_refused(
    server: InLoopServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "MOST_SUBSCRIPTIONS", 1)
    async with watching(server, **{LOT: 0}) as client:
        await heard(client, 1)
        await say(client, type="subscribe", stream=SECOND)

        assert await heard(client, 1) == [ended(SECOND, 4429)]


async def test_a_lost_right_ends_its_stream_alone(server: InLoopServer, guests: set[str]) -> None:
    async with watching(server, **{LOT: 0, OWN: 0}) as client:
        await heard(client, 2)
        guests.clear()
        await bid(server.engine, "42", 10)
        await change_rights(server, "42")
        await bid(server.engine, "42", 20)

        changed = {"seq": 2, "stream": LOT, "type": "rights_changed", "payload": {}}
        assert await heard(client, 3) == [event(LOT, 1, 10), changed, ended(LOT, 4403)]
        await say(client, type="ping")
        assert await heard(client, 1) == [{"type": "pong"}]


async def test_a_lost_right_to_the_last_stream_closes(server: InLoopServer, guests: set[str]) -> None:
    async with watching(server, **{LOT: 0}) as client:
        await heard(client, 1)
        guests.clear()
        await change_rights(server, "42")
        await bid(server.engine, "42", 20)

        assert (await heard(client, 3))[1:] == [ended(LOT, 4403), {"closed": 4403}]


async def test_a_connection_outlives_its_first_token(server: InLoopServer, monkeypatch: pytest.MonkeyPatch) -> None:
    verified, begun = Tokens.user, datetime.now(UTC)
    lifetimes = iter([timedelta(seconds=1), timedelta(hours=1)])
    monkeypatch.setattr(
        Tokens, "user", lambda *given: replace(verified(*given), expires=datetime.now(UTC) + next(lifetimes))
    )
    async with watching(server, **{LOT: 0}) as client:
        await heard(client, 1)
        await say(client, type="token", token=token(server.settings, ADA))
        (renewed,) = await heard(client, 1)
        await asyncio.sleep(1.1)
        await bid(server.engine, "42", 10)

        assert renewed["type"] == "token"
        assert datetime.fromisoformat(str(renewed["expires"])) > begun + timedelta(hours=1)
        assert await heard(client, 1) == [event(LOT, 1, 10)]


async def test_a_shorter_token_closes_when_it_expires(server: InLoopServer) -> None:
    async with watching(server, **{LOT: 0}) as client:
        await heard(client, 1)
        await say(client, type="token", token=Tokens(server.settings).issue(ADA, timedelta(seconds=2)))

        assert [message.get("type", message) for message in await heard(client, 2)] == ["token", {"closed": 4401}]


@pytest.mark.parametrize("forged", [True, False], ids=["forged", "another user's"])
async def test_a_token_of_another_closes_with_4401(server: InLoopServer, forged: bool) -> None:
    async with watching(server, **{LOT: 0}) as client:
        await heard(client, 1)
        await say(client, type="token", token="nonsense" if forged else token(server.settings, BOB))

        assert await heard(client, 1) == [{"closed": 4401}]


async def test_a_right_is_asked_for_with_a_newer_token(server: InLoopServer, guests: set[str]) -> None:
    async with watching(server, **{LOT: 0, OWN: 0}) as client:
        await heard(client, 2)
        guests.clear()
        await say(client, type="token", token=token(server.settings, ADA))
        await bid(server.engine, "42", 10)

        refused, renewed = await heard(client, 2)
        assert (refused, renewed["type"]) == (ended(LOT, 4403), "token")


@pytest.mark.parametrize(
    "message",
    [
        {"type": "subscribe"},
        {"type": "subscribe", "stream": ""},
        {"type": "subscribe", "stream": LOT, "after": "1"},
        {"type": "subscribe", "stream": LOT, "after": -1},
        {"type": "subscribe", "stream": "lot:" + "x" * 300},
        {"type": "unsubscribe"},
        {"type": "token"},
        {"type": "token", "token": 7},
        {"stream": LOT},
    ],
    ids=str,
)
async def test_a_message_that_is_none_closes_with_4400(server: InLoopServer, message: dict[str, object]) -> None:
    async with watching(server, **{LOT: 0}) as client:
        await heard(client, 1)
        await say(client, **message)

        assert await heard(client, 1) == [{"closed": 4400}]


async def test_an_unknown_message_is_ignored(server: InLoopServer) -> None:
    async with watching(server, **{LOT: 0}) as client:
        await heard(client, 1)
        await say(client, type="pause", stream=LOT)
        await bid(server.engine, "42", 10)

        assert await heard(client, 1) == [event(LOT, 1, 10)]
