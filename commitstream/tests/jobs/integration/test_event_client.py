"""The client of browsers, app/agents/web/events.js: several streams on one connection, each with its own cursor."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, WebSocketRoute
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from commitstream.domain import Domain
from commitstream.tests.jobs.application import JobsSettings, create_app
from commitstream.tests.jobs.lots import Lots, bid, take_rights
from test_framework import CHECKOUT
from test_framework.servers import InLoopServer, in_loop, token

DEADLINE_SECONDS = 8.0

CONNECT = """async ([token, watch]) => {
    const { connect } = await import("/web/events.js");
    Object.assign(window, { shown: [], states: [], ends: [] });
    window.client = connect({
        url: "/ws", token, watch,
        onEvent: ({ stream, seq }, { replayed }) => shown.push([stream, seq, replayed, client.from.watch[stream]]),
        onState: (state) => states.push(state),
        onEnd: (end) => ends.push(end),
    });
}"""


class Client:
    """A connection of the client in a page, and what it handed out."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def connect(self, token: str, **watch: int | None) -> None:
        await self.page.evaluate(CONNECT, [token, watch])

    async def phase(self, name: str) -> None:
        """Wait until the client is in a phase."""
        await self.page.wait_for_function("(name) => states.at(-1)?.phase === name", arg=name)

    async def shows(self, count: int) -> list[tuple[str, int, bool]]:
        """Wait for so many events; return each one's stream, number and whether it was replayed."""
        await self.page.wait_for_function("(count) => shown.length >= count", arg=count)
        shown = await self.page.evaluate("shown")
        assert [seq for _, seq, _, _ in shown] == [cursor for _, _, _, cursor in shown], (
            "a cursor moves before its event"
        )
        return [(stream, seq, replayed) for stream, seq, replayed, _ in shown]


class Web(Domain):
    routes = (Mount("/web", StaticFiles(directory=CHECKOUT / "app" / "agents" / "web")),)


@pytest.fixture
def lots() -> Lots:
    return Lots({"ada"})


@pytest_asyncio.fixture
async def server(settings: JobsSettings, lots: Lots) -> AsyncIterator[InLoopServer]:
    async with in_loop(settings, create_app(settings, more=(lots, Web()))) as running:
        yield running


@pytest_asyncio.fixture
async def client(browser: Browser, server: InLoopServer) -> AsyncIterator[Client]:
    """A page of the server's origin, whose browser has nothing to complain about to the end."""
    complaints = list[str]()
    context = await browser.new_context()
    page = await context.new_page()
    page.set_default_timeout(DEADLINE_SECONDS * 1000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    await page.goto(f"{server.url}/web/events.js")
    yield Client(page)
    await context.close()
    assert complaints == []


async def test_each_stream_resumes_at_its_own_cursor(server: InLoopServer, client: Client) -> None:
    await bid(server.engine, "1", 10, 20)
    await bid(server.engine, "2", 10)
    await client.connect(token(server.settings, "ada"), **{"lot:1": 0, "lot:2": None})
    await client.phase("live")
    await bid(server.engine, "2", 20)
    await client.shows(3)

    await client.page.evaluate("client.pause()")
    await bid(server.engine, "1", 30)
    await bid(server.engine, "2", 30, 40)
    await client.page.evaluate("client.resume()")
    shown = await client.shows(6)

    assert [event for event in shown if event[0] == "lot:1"] == [
        ("lot:1", 1, True),
        ("lot:1", 2, True),
        ("lot:1", 3, True),
    ]
    assert [event for event in shown if event[0] == "lot:2"] == [
        ("lot:2", 2, False),
        ("lot:2", 3, True),
        ("lot:2", 4, True),
    ]
    assert await client.page.evaluate("client.from") == {"watch": {"lot:1": 3, "lot:2": 4}}


async def test_a_cursor_ahead_begins_its_stream_again_alone(server: InLoopServer, client: Client) -> None:
    await bid(server.engine, "1", 10)
    await bid(server.engine, "2", 10)

    await client.connect(token(server.settings, "ada"), **{"lot:1": 99, "lot:2": 0})
    shown = await client.shows(2)
    await client.phase("live")

    assert sorted(shown) == [("lot:1", 1, True), ("lot:2", 1, True)]
    resets = "states.filter(({ phase }) => phase === 'reset').map(({ stream }) => stream)"
    assert await client.page.evaluate(resets) == ["lot:1"]


async def test_a_refused_stream_ends_and_is_not_asked_for_again(server: InLoopServer, client: Client) -> None:
    await client.connect(token(server.settings, "ada"), **{"user:bob": 0, "lot:1": 0})
    await client.phase("live")
    await client.page.wait_for_function("() => ends.length > 0")
    await client.page.evaluate("client.pause()")
    await client.page.evaluate("client.resume()")
    await client.phase("live")
    await bid(server.engine, "1", 10)

    assert await client.shows(1) == [("lot:1", 1, False)]
    ends = await client.page.evaluate("ends")
    assert [(end["stream"], end["code"]) for end in ends] == [("user:bob", 4403)]


async def test_a_stream_that_loses_its_right_is_not_asked_for_again(
    server: InLoopServer, client: Client, lots: Lots
) -> None:
    await client.connect(token(server.settings, "ada"), **{"lot:1": 0, "user:ada": 0})
    await client.phase("live")

    await take_rights(server.engine, lots, "1")
    await client.page.wait_for_function("() => ends.length > 0")
    await client.page.evaluate("client.pause()")
    await client.page.evaluate("client.resume()")
    await client.phase("live")

    assert [end["code"] for end in await client.page.evaluate("ends")] == [4403]
    assert await client.page.evaluate("client.from") == {"watch": {"user:ada": 0}}


async def test_the_last_stream_to_lose_its_right_refuses(server: InLoopServer, client: Client, lots: Lots) -> None:
    await client.connect(token(server.settings, "ada"), **{"lot:1": 0})
    await client.phase("live")

    await take_rights(server.engine, lots, "1")
    await client.phase("refused")

    assert await client.page.evaluate("states.at(-1).code") == 4403


async def test_messages_of_unknown_types_are_ignored(server: InLoopServer, client: Client) -> None:
    def add_news(socket: WebSocketRoute) -> None:
        def forward(message: str | bytes) -> None:
            socket.send('{"type":"news","stream":"lot:1","cursor":9}')
            socket.send(message)

        socket.connect_to_server().on_message(forward)

    await client.page.route_web_socket("**/ws", add_news)

    await client.connect(token(server.settings, "ada"), **{"lot:1": 0})
    await bid(server.engine, "1", 10)

    assert [event[:2] for event in await client.shows(1)] == [("lot:1", 1)]
