"""Clients that send anything at all: nothing crashes, nothing is left behind, and nobody else notices.

What is sent is drawn at random; pytest-randomly seeds it and names the seed, so that a failure can be had again.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter

import pytest

from commitstream.tests.jobs.client import JobsContext
from commitstream.tests.jobs.conftest import MakeJobsSettings
from commitstream.tests.jobs.inside import eventually, jobs_in_loop, nothing_goes_wrong
from commitstream.tests.jobs.wire import BINARY, CLOSE, PING, PONG, TEXT, Wire, frame, wire
from commitstream.transports.direct_write import WRITE_BUFFER_LIMIT, DirectWriteProtocol
from test_framework.servers import InLoopServer
from test_framework.users import TestUserContext

CLIENTS = 300
AT_ONCE = 10
CLIENT_SECONDS = 0.25
LARGEST_READ = 256 * 1024
STREAMS = ("user:eve", "user:ada", "user:", "user:\0", "lot:42", ":", "user")
NAMED_CODES = {1000, 1002, 1003, 1005, 1006, 1007, 1009, 4400, 4401, 4403, 4404, 4410, 4429}
CODES_OF_CLIENTS = set(range(3000, 5000)) - {4008, 4400, 4401, 4403, 4404, 4410, 4429}


def anything() -> bytes:
    """Bytes of any kind and length."""
    return random.randbytes(random.choice((0, 1, 2, 5, 125, 126, 127, 1000, 70_000)))


def farewell() -> bytes:
    """What a frame that closes may hold: a code of the client's own, which the service echoes."""
    return random.choice((1000, *CODES_OF_CLIENTS)).to_bytes(2)


def json_of_any_kind() -> bytes:
    deep = random.choice((b"[", b'{"type":', b'{"a":[')) * random.randrange(1, 5000)
    words: list[object] = [None, True, -1, 1e308, "x" * 60, [], {}, "\ud800", "ping", 10**40, *STREAMS]
    keys = ("type", "token", "after", "joined", "watch", "stream", "")
    flat = json.dumps({random.choice(keys): random.choice(words) for _ in range(3)}).encode()
    asked = {"type": random.choice(("subscribe", "unsubscribe", "token")), random.choice(keys): random.choice(words)}
    good = {"type": random.choice(("subscribe", "unsubscribe", "ping", "unheard")), "stream": random.choice(STREAMS)}
    cut = flat[: random.randrange(len(flat))]
    return random.choice((deep, flat, cut, json.dumps(asked).encode(), json.dumps(good).encode()))


def any_frame() -> bytes:
    whole = frame(
        random.choice((0, TEXT, TEXT, TEXT, BINARY, 3, 7, CLOSE, CLOSE, PING, PONG, 11, 15)),
        random.choice((anything, json_of_any_kind, farewell))(),
        final=random.random() < 0.8,
        masked=random.random() < 0.9,
        reserved=random.choice((0, 0, 0, 0, 4, 7)),
    )
    return whole if random.random() < 0.8 else whole[: random.randrange(len(whole) + 1)]


def good_frame() -> bytes:
    """A frame as it should be, whatever it holds."""
    return frame(random.choice((TEXT, TEXT, TEXT, BINARY, PING)), json_of_any_kind()[:100])


def any_request() -> bytes:
    """A handshake with something wrong in it, or no handshake at all."""
    lines = [b"GET /ws HTTP/1.1", b"Host: localhost", b"Upgrade: websocket", b"Connection: Upgrade"]
    lines += [b"Sec-WebSocket-Key: " + anything()[:30], b"Sec-WebSocket-Version: " + random.choice((b"13", b"8", b"x"))]
    lines += [b"Sec-WebSocket-Protocol: " + anything()[:200], b"Sec-WebSocket-Extensions: permessage-deflate; x=\xff"]
    random.shuffle(rest := lines[1:])
    whole = b"\r\n".join([lines[0], *rest[: random.randrange(len(rest) + 1)], b"", b""])
    return random.choice((whole, whole[: random.randrange(len(whole))], anything()))


async def misbehave(server: InLoopServer, user: TestUserContext) -> int:
    """Be one client: some don't get beyond the handshake, some introduce themselves first, some drop."""
    async with wire(server) as client:
        kind = random.random()
        if kind < 0.2:
            await client.send(any_request(), any_frame())
            return 1006
        await client.handshake(random.choice(("/ws", "/ws?after=0", "/ws?after=x&after=1")))
        if kind < 0.8:
            await client.introduce(user.token, after=random.choice((0, None)))
        makes = random.choice((any_frame, good_frame, good_frame))
        await client.send(*(makes() for _ in range(random.randrange(1, 8))))
        if random.random() < 0.3:
            client.writer.transport.abort()
            return 1006
        return await ending(client)


async def ending(client: Wire) -> int:
    """The code it is closed with; one that is still awaited by the server goes away by itself."""
    try:
        async with asyncio.timeout(CLIENT_SECONDS):
            return await client.close_code()
    except TimeoutError:
        return 1000


async def tasks_of_the_service() -> Counter[str]:
    names = (task.get_name() for task in asyncio.all_tasks())
    return Counter(name for name in names if name.startswith(("hub", "socket", "stream", "redis", "outbox", "runner")))


async def watchers_of(server: InLoopServer) -> int:
    return server.engine.hub.watchers


@pytest.mark.timeout(60)
async def test_whatever_clients_send_nothing_breaks_nothing_stays_and_nobody_notices(
    make_settings: MakeJobsSettings, caplog: pytest.LogCaptureFixture
) -> None:
    async with jobs_in_loop(make_settings(sockets_per_user=1000, requests_per_minute=100_000)) as server:
        eve = TestUserContext.of(server.settings, "eve")
        await eventually(lambda: asyncio.sleep(0, server.engine.bus.healthy), bool)
        before = await tasks_of_the_service()
        async with nothing_goes_wrong(caplog), JobsContext(server) as ada:
            codes = Counter[int]()
            for _ in range(CLIENTS // AT_ONCE):
                some = asyncio.gather(*(misbehave(server, eve) for _ in range(AT_ONCE)))
                await ada.do("undisturbed")
                codes.update(await some)

            ada.capture.assert_unbroken()
            assert len(ada.capture.events) == 5 * CLIENTS // AT_ONCE
            assert set(codes) <= NAMED_CODES | CODES_OF_CLIENTS, codes
            assert {1002, 1003, 1006, 4400} <= set(codes), codes

        await eventually(lambda: watchers_of(server), lambda watchers: watchers == 0)
        await eventually(tasks_of_the_service, lambda tasks: tasks == before)


async def test_pings_whose_answers_nobody_reads_do_not_pile_up(
    make_settings: MakeJobsSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffered: list[int] = []
    answer = DirectWriteProtocol.handle_ping

    def answer_and_measure(protocol: DirectWriteProtocol) -> None:
        answer(protocol)
        buffered.append(protocol.transport.get_write_buffer_size())

    monkeypatch.setattr(DirectWriteProtocol, "handle_ping", answer_and_measure)
    async with jobs_in_loop(make_settings()) as server, wire(server) as client:
        await client.handshake()
        await client.introduce(TestUserContext.of(server.settings).token)
        client.stop_reading()
        flood = frame(PING, b"x" * 125) * 1000
        while len(buffered) < 100_000 and max(buffered, default=0) <= WRITE_BUFFER_LIMIT:
            await client.send(flood)

        for _ in range(5):
            await client.send(flood)

        await eventually(lambda: asyncio.sleep(0, len(buffered)), lambda pings: pings > 5000)
        assert WRITE_BUFFER_LIMIT < max(buffered) <= WRITE_BUFFER_LIMIT + LARGEST_READ
