"""Somebody at the page: what they do there, what they can see, and what their browser complained about."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Literal, cast
from urllib.parse import urlsplit

from playwright.async_api import Browser, ConsoleMessage, Error, Locator, Page, Route, WebSocketRoute, expect

from app.agents.tables import RunStatus
from test_framework.servers import Server, token
from tests.agents.client import AgentsClient

DEADLINE_SECONDS = 8.0
NETWORK_CHANGED = "ERR_NETWORK_CHANGED"

# The contrast, as WCAG 2 has it, of every text that can be seen: its colour against the nearest ground behind it.
CONTRASTS = """() => {
    const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
    const luminance = (color) => {
        const [red, green, blue] = numbers(color).map((part) => part / 255)
            .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const ground = (element) => {
        const color = getComputedStyle(element).backgroundColor;
        return numbers(color)[3] === 0 && element.parentElement ? ground(element.parentElement) : color;
    };
    const own = (element) => [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE)
        .map((node) => node.data.trim()).join("");
    const texts = [...document.body.querySelectorAll("*")].filter((element) => own(element) && element.checkVisibility());
    return texts.map((element) => {
        const pair = [luminance(getComputedStyle(element).color), luminance(ground(element))].sort((a, b) => b - a);
        return [own(element), (pair[0] + 0.05) / (pair[1] + 0.05)];
    });
}"""


@dataclass(frozen=True)
class Text:
    """A text on the page, and how far it stands out from what is behind it."""

    colors: str
    text: str
    contrast: float


class Visitor:
    def __init__(self, page: Page, server: Server) -> None:
        self.page = page
        self.name = f"visitor-{secrets.token_hex(4)}"
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self._server = server
        self._network_changed = False
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        page.on("websocket", lambda socket: self.hosts.add(urlsplit(socket.url).netloc))

    def _listen(self, said: ConsoleMessage) -> None:
        if NETWORK_CHANGED in said.text:
            self._network_changed = True
        elif said.type == "error":
            self.complaints.append(said.text)

    async def open(self) -> None:
        """Load the page, and again if a network interface came or went meanwhile, as they do where containers start."""
        self._network_changed = True
        async with asyncio.timeout(DEADLINE_SECONDS):
            while self._network_changed:
                self._network_changed = False
                try:
                    await self.page.goto(self._server.url)
                except Error as error:
                    if NETWORK_CHANGED not in error.message:
                        raise
                    self._network_changed = True

    async def sign_in(self) -> None:
        await self.open()
        await self.page.get_by_label("Your name").fill(self.name)
        await self.page.get_by_role("button", name="Continue").click()
        await self.sees_connection("live")

    async def hear_everything_twice(self) -> None:
        """Have each message of a socket delivered to the page two times."""

        def double(socket: WebSocketRoute) -> None:
            def twice(message: str | bytes) -> None:
                socket.send(message)
                socket.send(message)

            socket.connect_to_server().on_message(twice)

        await self.page.route_web_socket("**/ws", double)

    async def is_answered_after_the_end(self) -> None:
        """Hold back the answer to a new run until the page has shown the run's end."""

        async def late(route: Route) -> None:
            if route.request.method != "POST":
                await route.continue_()
                return
            answer = await route.fetch()
            await expect(self.page.locator(".run .badge").first).to_have_text(RunStatus.COMPLETED)
            await route.fulfill(response=answer)

        await self.page.route("**/api/runs", late)

    async def is_told_the_time_late(self, seconds: float) -> None:
        """Have each answer say a time that is past, as those of a starved server do, which writes it now and then."""

        async def late(route: Route) -> None:
            answer = await route.fetch()
            date = format_datetime(datetime.now(UTC) - timedelta(seconds=seconds), usegmt=True)
            await route.fulfill(response=answer, headers={**answer.headers, "date": date})

        await self.page.route("**/api/**", late)

    async def start(self, message: str) -> Locator:
        """Send a message; returns its run, wherever that stands in the list later."""
        shown = await self.page.locator(".run").count()
        await self.page.get_by_label("Message").fill(message)
        await self.page.get_by_role("button", name="Start a run").click()
        await expect(self.page.locator(".run")).to_have_count(shown + 1)
        return self.page.locator(f"[data-run='{await self.page.locator('.run').first.get_attribute('data-run')}']")

    async def switch_network(self) -> None:
        await self.page.get_by_role("switch", name="Pull the network").click()

    async def sees_connection(self, state: str) -> None:
        await expect(self.page.locator("#socket .word")).to_have_text(state)

    async def sees_end(self, run: Locator, status: RunStatus) -> None:
        await expect(run.locator(".badge")).to_have_text(status)

    async def seqs(self) -> list[int]:
        """The numbers of the events on the page, run by run, the oldest run first."""
        rows = await self.page.locator(".run").evaluate_all(
            "(runs) => runs.reverse().flatMap((run) => [...run.querySelectorAll('[data-seq]')].map((row) => row.dataset.seq))"
        )
        return [int(seq) for seq in rows]

    async def contrasts(self, colors: Literal["light", "dark"]) -> list[Text]:
        await self.page.emulate_media(color_scheme=colors)
        return [Text(colors, text, contrast) for text, contrast in await self.page.evaluate(CONTRASTS)]

    async def service_ends(self, run: Locator) -> None:
        """Wait until the service has ended a run, whatever the page knows of it."""
        run_id = cast("str", await run.get_attribute("data-run"))
        status = RunStatus.RUNNING
        try:
            async with (
                asyncio.timeout(DEADLINE_SECONDS),
                AgentsClient(self._server.url, token(self._server.settings, self.name)) as client,
            ):
                while status is RunStatus.RUNNING:
                    status = (await client.run(run_id)).status
        except TimeoutError:
            raise TimeoutError(f"run {run_id} was to end within {DEADLINE_SECONDS:g} s, and is {status}") from None


@asynccontextmanager
async def visit(browser: Browser, server: Server) -> AsyncIterator[Visitor]:
    """Come to the page with a browser profile of one's own."""
    context = await browser.new_context(color_scheme="light")
    context.set_default_timeout(DEADLINE_SECONDS * 1000)
    visitor = Visitor(await context.new_page(), server)
    try:
        yield visitor
    except BaseException as error:
        error.add_note(f"the browser complained of: {visitor.complaints or 'nothing'}")
        raise
    finally:
        await context.close()
