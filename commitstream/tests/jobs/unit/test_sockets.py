"""`/ws`: who is let in, how each fault is named, and that nobody else notices."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from commitstream.service.server import LARGEST_CLIENT_MESSAGE
from commitstream.service.tokens import Tokens
from commitstream.tests.jobs.application import JobsSettings
from commitstream.tests.jobs.client import JobsContext
from commitstream.tests.jobs.conftest import MakeJobsSettings
from commitstream.tests.jobs.inside import PROBLEM, jobs_in_loop, nothing_goes_wrong
from commitstream.tests.jobs.unit.test_tokens import WORTHLESS
from commitstream.tests.jobs.wire import BINARY, CLOSE, PING, PONG, TEXT, Address, Wire, frame, wire
from commitstream.transports import websocket as sockets
from commitstream.transports.websocket import MESSAGES_PER_MINUTE
from commitstream.user import User
from test_framework.servers import InLoopServer
from test_framework.users import TestUserContext
from test_framework.waiting import becomes


@pytest.fixture(autouse=True)
def server(watched: InLoopServer) -> InLoopServer:
    """The server that all of these share."""
    return watched


@pytest_asyncio.fixture
async def ada(server: InLoopServer) -> TestUserContext:
    return TestUserContext.of(server.settings)


async def connected(client: Wire, user: TestUserContext, **hello: object) -> dict[str, object]:
    assert "101" in (await client.handshake()).splitlines()[0]
    return await client.introduce(user.token, **hello)


async def test_whoever_introduces_themselves_is_greeted_with_their_cursor(
    server: InLoopServer, ada: TestUserContext
) -> None:
    async with wire(server) as client:
        before = datetime.now(UTC)
        hello = await connected(client, ada)

        assert before <= datetime.fromisoformat(str(hello.pop("at"))) <= datetime.now(UTC)
        assert hello == {"type": "hello", "v": 2, "user": ada.id, "streams": {f"user:{ada.id}": 0}}


async def test_a_worthless_token_closes_with_4401(server: InLoopServer) -> None:
    for name, forge in WORTHLESS.items():
        token = forge(server.settings)
        if len(token) < 60_000:
            async with wire(server) as client:
                await client.handshake()
                assert await client.introduce(token) == {"closed": 4401}, name


async def test_a_socket_closes_with_4401_when_its_token_expires(
    server: InLoopServer, ada: TestUserContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified = Tokens.user

    def for_a_moment(tokens: Tokens, token: str) -> User:
        return replace(verified(tokens, token), expires=datetime.now(UTC) + timedelta(seconds=0.1))

    monkeypatch.setattr(Tokens, "user", for_a_moment)
    async with wire(server) as client:
        assert (await connected(client, ada))["type"] == "hello"

        assert await client.close_code() == 4401


async def test_silence_after_connecting_closes_with_4401(server: InLoopServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sockets.HELLO_SECONDS <= 5
    monkeypatch.setattr(sockets, "HELLO_SECONDS", 0.05)
    async with wire(server) as client:
        await client.handshake()

        assert await client.close_code() == 4401


BAD_HELLOS = ["", "hello", "[]", "null", '{"after": "one"}', '{"token": 7}', '{"token": "x", "after": -1}',
              '{"token": "x", "after": 1.5}', '{"token": "x", "after": true}', f'{{"token": "x", "after": {10**30}}}',
              "[" * 60_000, '{"token":' * 6000, '{"token": "\\ud800"}']  # fmt: skip


async def test_a_first_message_that_introduces_nobody_closes_with_4400(server: InLoopServer) -> None:
    for hello in BAD_HELLOS:
        async with wire(server) as client:
            await client.handshake()
            await client.send(frame(TEXT, hello.encode()))

            assert await client.close_code() == 4400, hello[:50]


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "", str(10**30), "9" * 5000, "%00"])
async def test_a_cursor_in_the_url_that_is_none_closes_with_4400(
    server: InLoopServer, ada: TestUserContext, after: str
) -> None:
    async with wire(server) as client:
        await client.handshake(f"/ws?after={after}")

        assert await client.introduce(ada.token) == {"closed": 4400}


async def test_a_cursor_ahead_of_everything_closes_with_4410(server: InLoopServer, ada: TestUserContext) -> None:
    async with wire(server) as client:
        await connected(client, ada, after=1)

        assert await client.close_code() == 4410


async def test_a_token_in_a_subprotocol_needs_no_first_message(server: InLoopServer, ada: TestUserContext) -> None:
    async with wire(server) as client:
        head = await client.handshake("/ws?after=0", [f"Sec-WebSocket-Protocol: events.v2, bearer.{ada.token}"])

        assert "sec-websocket-protocol: events.v2\r\n" in head.lower()
        assert ada.token not in head
        hello = json.loads((await client.next())[1])
        assert (hello["type"], hello["streams"]) == ("hello", {f"user:{ada.id}": 0})


async def test_a_forged_token_in_a_subprotocol_closes_with_4401(server: InLoopServer, ada: TestUserContext) -> None:
    async with wire(server) as client:
        await client.handshake(headers=[f"Sec-WebSocket-Protocol: bearer.{ada.forged_token}"])

        assert await client.close_code() == 4401


async def test_a_subprotocol_we_do_not_speak_is_not_agreed_to(server: InLoopServer, ada: TestUserContext) -> None:
    async with wire(server) as client:
        head = await client.handshake(headers=["Sec-WebSocket-Protocol: graphql-ws, events.v1"])

        assert "sec-websocket-protocol" not in head.lower()
        assert (await client.introduce(ada.token))["type"] == "hello"


async def test_a_token_in_the_url_lets_nobody_in(
    server: InLoopServer, ada: TestUserContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "HELLO_SECONDS", 0.05)
    async with wire(server) as client:
        await client.handshake(f"/ws?token={ada.token}")

        assert await client.close_code() == 4401


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "http://localhost:1"]
)
async def test_a_page_of_another_origin_is_refused_before_the_handshake(server: InLoopServer, origin: str) -> None:
    async with wire(server) as client:
        head = await client.handshake(headers=[f"Origin: {origin}"])

        assert head.startswith("HTTP/1.1 403")
        assert PROBLEM in head
        assert "x-request-id" in head.lower()
        assert json.loads(await client.body())["status"] == 403


async def test_a_page_of_our_own_origin_is_let_in(server: InLoopServer, ada: TestUserContext) -> None:
    async with wire(server) as client:
        assert "101" in await client.handshake(headers=["Origin: http://localhost"])
        assert (await client.introduce(ada.token))["type"] == "hello"


async def test_a_host_that_is_not_ours_is_refused_before_the_handshake(server: InLoopServer) -> None:
    async with wire(server) as client:
        head = await client.handshake(headers=["Origin: http://evil.example"], host="evil.example")

        assert head.startswith("HTTP/1.1 400")
        assert json.loads(await client.body())["status"] == 400


WRONG_FRAMES = {
    "bytes": (1003, [frame(BINARY, b"{}")]),
    "bytes in two parts": (1003, [frame(BINARY, b"{", final=False), frame(0, b"}")]),
    "not UTF-8": (1007, [frame(TEXT, b'"\xff\xfe"')]),
    "half a character": (1007, [frame(TEXT, "é".encode()[:1])]),
    "too large": (1009, [frame(TEXT, b"x" * (LARGEST_CLIENT_MESSAGE + 1))]),
    "too large in parts": (1009, [frame(TEXT, b"x" * 60_000, final=False), frame(0, b"x" * 10_000)]),
    "the size of a disk": (1009, [b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"mask"]),
    "not masked": (1002, [frame(TEXT, b"{}", masked=False)]),
    "an opcode nobody knows": (1002, [frame(0x3)]),
    "reserved bits": (1002, [frame(TEXT, b"{}", reserved=4)]),
    "a continuation of nothing": (1002, [frame(0, b"x")]),
    "a new message within one": (1002, [frame(TEXT, b"a", final=False), frame(TEXT, b"b")]),
    "a long ping": (1002, [frame(PING, b"x" * 126)]),
    "a ping in parts": (1002, [frame(PING, b"x", final=False)]),
    "a close of one byte": (1002, [frame(0x8, b"x")]),
    "a close code that is none": (1002, [frame(0x8, b"\x00\x01")]),
    "not JSON": (4400, [frame(TEXT, b"hello")]),
    "a list": (4400, [frame(TEXT, b"[]")]),
    "deep": (4400, [frame(TEXT, b"[" * 60_000)]),
    "without a type": (4400, [frame(TEXT, b"{}")]),
    "a type too long": (4400, [frame(TEXT, json.dumps({"type": "x" * 51}).encode())]),
    "empty": (4400, [frame(TEXT)]),
}  # fmt: skip


async def test_each_wrong_frame_is_named_by_its_code_and_disturbs_nobody(
    server: InLoopServer, ada: TestUserContext
) -> None:
    async with JobsContext(server) as bob:
        for name, (code, frames) in WRONG_FRAMES.items():
            async with wire(server) as client:
                await connected(client, ada, after=0)
                await client.send(*frames)

                assert await client.close_code() == code, name

        await bob.do("undisturbed")
        bob.capture.assert_unbroken()
        assert len(bob.capture.events) == 5


NO_TEXT = frame(TEXT, b'"\xff\xfe"')


@pytest.mark.parametrize(
    ("at_once", "code"),
    [
        pytest.param(NO_TEXT, 1007, id="once"),
        pytest.param(NO_TEXT + NO_TEXT, 1007, id="twice"),
        pytest.param(NO_TEXT + frame(CLOSE, (3456).to_bytes(2)), 3456, id="and goodbye"),
    ],
)
async def test_a_text_that_is_none_is_the_clients_fault_and_no_error_of_ours(
    server: InLoopServer, ada: TestUserContext, caplog: pytest.LogCaptureFixture, at_once: bytes, code: int
) -> None:
    async with nothing_goes_wrong(caplog), wire(server) as client:
        await connected(client, ada, after=0)
        await client.send(at_once)

        assert await client.close_code() == code


async def test_pings_of_both_kinds_are_answered(server: InLoopServer, ada: TestUserContext) -> None:
    async with wire(server) as client:
        await connected(client, ada)
        await client.said("live")

        await client.send(frame(PING, b"are you there"), frame(TEXT, b'{"type": "ping", "more": [1]}'))
        answers = [await client.next(), await client.next()]

        assert answers == [(PONG, b"are you there"), (TEXT, b'{"type":"pong"}')]


async def test_a_message_of_a_type_we_do_not_know_is_left_for_later_versions(
    server: InLoopServer, ada: TestUserContext
) -> None:
    async with wire(server) as client:
        await connected(client, ada)

        await client.send(frame(TEXT, b'{"type": "dance"}'), frame(TEXT, b'{"type": "ping"}'))

        assert await client.said("pong") == {"type": "pong"}


async def test_a_close_is_answered_with_a_close(server: InLoopServer, ada: TestUserContext) -> None:
    async with wire(server) as client:
        await connected(client, ada)
        await client.send(frame(0x8, (1000).to_bytes(2, "big")))

        assert await client.close_code() == 1000


async def test_too_many_messages_close_with_4429(server: InLoopServer, ada: TestUserContext) -> None:
    async with wire(server) as client:
        await connected(client, ada)

        await client.send(frame(TEXT, b'{"type": "ping"}') * MESSAGES_PER_MINUTE)

        assert await client.close_code() == 4429


async def test_a_socket_more_than_a_user_may_have_closes_with_4429(make_settings: MakeJobsSettings) -> None:
    async with jobs_in_loop(make_settings(sockets_per_user=1)) as server:
        user = TestUserContext.of(server.settings)
        async with JobsContext(server, user), wire(server) as second, JobsContext(server):
            await second.handshake()
            assert await second.introduce(user.token) == {"closed": 4429}

        async def let_in() -> bool:
            async with wire(server) as again:
                return (await connected(again, user)).get("type") == "hello"

        await becomes(let_in, "a hello, once the first socket is gone")


@pytest.mark.parametrize(
    "sent",
    [b"", b"\x81", b"\x81\xfe", frame(TEXT, b"{}" * 99)[:-5], frame(TEXT, b"{", final=False)],
    ids=["nothing", "a byte", "half a length", "most of a frame", "a message that never ends"],  # masks are random
)
async def test_a_connection_that_drops_in_the_middle_leaves_nothing_behind(
    server: InLoopServer, ada: TestUserContext, sent: bytes
) -> None:
    async with wire(server) as client:
        await connected(client, ada, after=0)
        await client.send(sent)
        client.writer.transport.abort()


async def test_a_connection_that_drops_before_it_introduced_itself_leaves_nothing_behind(server: InLoopServer) -> None:
    for path in ("/ws", "/nowhere"):
        async with wire(server) as client:
            await client.handshake(path)
            client.writer.transport.abort()


async def test_a_database_that_is_away_closes_with_1013_and_never_says_that_the_token_expired(
    server: InLoopServer, ada: TestUserContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise TimeoutError("the database did not answer")

    monkeypatch.setattr(server.engine.hub, "attach", away)
    async with wire(server) as client:
        await connected(client, ada)

        assert await client.close_code() == 1013


async def test_a_fault_of_ours_closes_with_1011(
    server: InLoopServer, ada: TestUserContext, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(server.engine.hub, "attach", broken)
    async with wire(server) as client:
        await connected(client, ada)

        assert await client.close_code() == 1011
    assert "a socket failed" in caplog.text


async def test_a_service_that_drains_sends_its_sockets_and_those_that_come_elsewhere(settings: JobsSettings) -> None:
    async with jobs_in_loop(settings) as server:
        user = TestUserContext.of(settings)
        async with wire(server) as early, wire(server) as late:
            await connected(early, user)

            await server.engine.drain()
            await late.handshake()

            assert await early.close_code() == 1012
            assert await late.close_code() == 1012


async def test_before_it_is_ready_the_handshake_is_answered_503(settings: JobsSettings) -> None:
    from commitstream.lifecycle.plan import Phase
    from commitstream.service.server import listen, server_for
    from commitstream.tests.jobs.application import create_app

    app = create_app(settings)
    app.state.startup.add("engine room", phase=Phase.DOMAINS, start=asyncio.Event().wait)
    listener = listen(settings)
    uvicorn = server_for(app)
    serving = asyncio.create_task(uvicorn.serve([listener]))
    host, port = listener.getsockname()
    async with wire(Address(settings, f"http://{host}:{port}")) as client:
        head = await client.handshake()

        assert head.startswith("HTTP/1.1 503")
        assert "retry-after: 1" in head.lower()
        assert PROBLEM in head
        assert "the service is starting" in await client.body()
    uvicorn.should_exit = True
    await serving
