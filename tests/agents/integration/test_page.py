"""The page as people meet it: the service behind its own server, a real browser, and claims about what can be seen there.

In full the server is a process of its own, as everywhere; elsewhere it shares this one, which is spared another's memory.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ViewportSize, expect

from app.agents.events import AgentCompleted, AgentStarted, AgentThinking, ToolCompleted, ToolExecuting
from app.agents.tables import RunStatus
from app.domains import factories
from app.main import create_app
from app.settings import Settings
from commitstream.domain import Domain
from commitstream.events import Event
from commitstream.topics import Topic
from test_framework.fixtures import Serve
from test_framework.servers import Server, in_loop, token
from test_framework.settings import settings_for_tests
from tests.agents.integration.visitor import DEADLINE_SECONDS, Visitor, visit

THE_FIVE = [kind.event_type for kind in (AgentStarted, AgentThinking, ToolExecuting, ToolCompleted, AgentCompleted)]
QUESTION = "How many words are these?"
READABLE = 4.5
PHONE = ViewportSize(width=360, height=740)


def settings_on(database: Path, **given: object) -> Settings:
    own: dict[str, object] = {
        "database_url": f"sqlite+aiosqlite:///{database}",
        "redis_url": "",
        "token_secret": secrets.token_urlsafe(48),
    }
    settings: Settings = settings_for_tests(**own | given)
    return settings


@pytest.fixture(scope="module", autouse=True)
def patience() -> None:
    expect.set_options(timeout=DEADLINE_SECONDS * 1000)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def dev(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """One server for all visitors; each sees their own runs alone."""
    async with serve(settings_on(tmp_path_factory.mktemp("page") / "page.db")) as server:
        yield server


@pytest_asyncio.fixture
async def ada(browser: Browser, dev: Server) -> AsyncIterator[Visitor]:
    """A visitor who is signed in, and whose browser has nothing to complain about to the end."""
    async with visit(browser, dev) as visitor:
        await visitor.sign_in()
        yield visitor
        assert visitor.complaints == []


async def test_a_message_shows_its_five_events_in_order(ada: Visitor) -> None:
    run = await ada.start(QUESTION)

    await ada.sees_end(run, RunStatus.COMPLETED)
    await expect(run.locator(".answer")).to_have_text("Your message has 5 words.")
    await expect(run.locator(".events .type")).to_have_text(THE_FIVE)
    await expect(run.locator(".events [data-type=tool_executing] .words")).to_contain_text(json.dumps(QUESTION))
    await expect(run.locator(".score .mark")).to_have_count(5)
    assert await ada.seqs() == [1, 2, 3, 4, 5]


async def test_a_run_that_ends_before_its_post_is_answered_stays_open(ada: Visitor) -> None:
    await ada.is_answered_after_the_end()

    run = await ada.start(QUESTION)

    await expect(ada.page.get_by_role("button", name="Start a run")).to_be_enabled()
    await expect(run.locator(".answer")).to_be_visible()
    await expect(run.locator(".events .type")).to_have_text(THE_FIVE)
    await expect(run.locator(".events")).to_be_visible()


async def test_a_refused_name_is_answered_with_the_rule(browser: Browser, dev: Server) -> None:
    async with visit(browser, dev) as visitor:
        await visitor.open()
        await visitor.page.get_by_label("Your name").fill("Ada Lovelace")
        await visitor.page.get_by_role("button", name="Continue").click()

        await expect(visitor.page.get_by_role("alert").first).to_contain_text(
            "user: only the letters A to Z, digits and . _ @ - are allowed, and no spaces"
        )


async def test_a_tool_that_fails_is_shown_with_its_error_and_the_run_goes_on(ada: Visitor) -> None:
    run = await ada.start("!call no_such_tool {}")

    await ada.sees_end(run, RunStatus.COMPLETED)
    completed = run.locator(".events [data-type=tool_completed]")
    await expect(completed.locator(".words")).to_contain_text("no_such_tool failed there is no tool 'no_such_tool'")
    await expect(run.locator(".score [data-tone=failed]")).to_have_count(1)


async def test_a_run_that_fails_and_one_that_is_cancelled_say_so_in_words(ada: Visitor) -> None:
    failed = await ada.start("!fail out of ideas")
    cancelled = await ada.start("!stall 60")
    await cancelled.get_by_role("button", name="Cancel").click()

    await ada.sees_end(failed, RunStatus.FAILED)
    await ada.sees_end(cancelled, RunStatus.CANCELLED)
    await failed.get_by_role("button", name="!fail out of ideas").click()
    await expect(failed.locator(".answer")).to_have_text("out of ideas")


async def test_nothing_is_missing_or_doubled_after_the_network_was_pulled(ada: Visitor) -> None:
    straddling = await ada.start("!think before\n!stall 0.8\n!think meanwhile")
    await expect(straddling.locator(".events .type")).to_have_text(THE_FIVE[:2])
    await ada.switch_network()
    await ada.sees_connection("network pulled")
    unseen = await ada.start("!think unseen")
    await ada.service_ends(straddling)
    await ada.service_ends(unseen)
    seen_while_away = await ada.seqs()

    await ada.switch_network()
    await ada.sees_end(unseen, RunStatus.COMPLETED)
    await ada.sees_end(straddling, RunStatus.COMPLETED)
    after = await ada.start(QUESTION)
    await ada.sees_end(after, RunStatus.COMPLETED)

    assert seen_while_away == [1, 2]
    assert sorted(await ada.seqs()) == list(range(1, 13))
    await expect(straddling.locator("[data-replayed] .type")).to_have_text(["agent_thinking", "agent_completed"])
    await expect(unseen.locator("[data-replayed]")).to_have_count(3)
    await expect(after.locator("[data-replayed]")).to_have_count(0)


async def test_what_was_missed_is_told_from_what_is_live_also_where_a_server_tells_the_time_late(ada: Visitor) -> None:
    await ada.is_told_the_time_late(30)
    await ada.switch_network()
    await ada.sees_connection("network pulled")
    unseen = await ada.start("!think unseen")
    await ada.service_ends(unseen)

    await ada.switch_network()
    await ada.sees_end(unseen, RunStatus.COMPLETED)
    after = await ada.start("!think seen")
    await ada.sees_end(after, RunStatus.COMPLETED)

    await expect(unseen.locator("[data-replayed]")).to_have_count(3)
    await expect(after.locator("[data-replayed]")).to_have_count(0)


async def test_an_event_that_comes_twice_is_shown_once(browser: Browser, dev: Server) -> None:
    async with visit(browser, dev) as ada:
        await ada.hear_everything_twice()
        await ada.sign_in()

        run = await ada.start(QUESTION)

        await ada.sees_end(run, RunStatus.COMPLETED)
        await expect(run.locator(".score .mark")).to_have_count(5)
        assert await ada.seqs() == [1, 2, 3, 4, 5]


async def test_a_page_outlives_the_service_that_it_came_from(browser: Browser, serve: Serve, tmp_path: Path) -> None:
    settings = settings_on(tmp_path / "page.db")
    async with AsyncExitStack() as life, visit(browser, await life.enter_async_context(serve(settings))) as ada:
        await ada.sign_in()
        interrupted = await ada.start("!think first\n!stall 60")
        await expect(interrupted.locator(".events .type")).to_have_text(THE_FIVE[:2])
        port = urlsplit(ada.page.url).port
        await life.aclose()
        await ada.sees_connection("reconnecting")

        await ada.page.context.set_offline(True)
        async with serve(settings_on(tmp_path / "page.db", port=port)):
            await ada.page.context.set_offline(False)
            await ada.sees_connection("live")
            run = await ada.start(QUESTION)
            await ada.sees_end(run, RunStatus.COMPLETED)

            await ada.sees_end(interrupted, RunStatus.INTERRUPTED)
            assert await ada.seqs() == list(range(1, 9))


async def test_a_reload_shows_the_same_runs_again(ada: Visitor) -> None:
    run = await ada.start(QUESTION)
    await ada.sees_end(run, RunStatus.COMPLETED)

    await ada.open()

    await expect(run.locator(".events .type")).to_have_text(THE_FIVE)
    assert await ada.seqs() == [1, 2, 3, 4, 5]


async def test_a_hostile_message_is_text_wherever_it_is_shown_and_runs_nothing(ada: Visitor) -> None:
    title = await ada.page.title()
    attack = "<img/src=x/onerror=document.title='mine'><script>document.title='mine'</script>"
    arguments = json.dumps({"text": attack})

    run = await ada.start(
        f"{attack}\n!think {attack}\n!call {attack} {arguments}\n!call count_words {arguments}\n!fail {attack}"
    )

    await ada.sees_end(run, RunStatus.FAILED)
    for place in ("h3", ".answer", ".message", "[data-seq='2'] .words", "[data-seq='3'] b", "[data-seq='6'] .words"):
        await expect(run.locator(place)).to_contain_text(attack)
    await expect(run.locator("img, script")).to_have_count(0)
    assert await ada.page.title() == title


async def test_the_page_asks_its_own_host_alone_and_is_held_to_that(ada: Visitor, dev: Server) -> None:
    run = await ada.start(QUESTION)
    await ada.sees_end(run, RunStatus.COMPLETED)

    for path in ("/", "/web/page.js"):
        headers = (await ada.page.request.get(dev.url + path)).headers
        assert headers["content-security-policy"].startswith("default-src 'self'; ")
        assert "require-trusted-types-for 'script'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    assert ada.hosts == {urlsplit(dev.url).netloc}


async def test_production_asks_for_a_token_of_your_own(browser: Browser, serve: Serve, tmp_path: Path) -> None:
    settings = settings_on(tmp_path / "page.db", environment="production")
    async with serve(settings) as server, visit(browser, server) as ada:
        await ada.open()
        await ada.page.get_by_label("Bearer token").fill(token(settings, "Zoë"))
        await ada.page.get_by_role("button", name="Continue").click()

        await ada.sees_connection("live")
        await expect(ada.page.locator("#user")).to_have_text("Zoë")
        assert ada.complaints == []


async def test_every_text_is_readable_in_the_light_and_in_the_dark(ada: Visitor) -> None:
    failed = await ada.start("!fail here")
    await ada.sees_end(failed, RunStatus.FAILED)
    completed = await ada.start("!call no_such_tool {}\n!call current_time")
    await ada.sees_end(completed, RunStatus.COMPLETED)
    await failed.get_by_role("button", name="!fail here").click()

    light = await ada.contrasts("light")
    dark = await ada.contrasts("dark")

    assert len(light) == len(dark) > 40
    assert light != dark
    assert [text for text in light + dark if text.contrast < READABLE] == []


async def test_a_phone_shows_everything_without_scrolling_sideways(ada: Visitor) -> None:
    run = await ada.start("long" * 60)
    await ada.sees_end(run, RunStatus.COMPLETED)

    await ada.page.set_viewport_size(PHONE)

    assert await ada.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


class LotSold(Event):
    price: int


class Lots(Domain):
    topics = (Topic("lot", events=[LotSold], may_watch=lambda user, key: True),)


async def test_a_run_has_a_lane_for_every_event_type_of_the_service(browser: Browser, settings: Settings) -> None:
    app = create_app(settings, domains=[*factories(), lambda engine, given: Lots()])
    async with in_loop(settings, app) as server, visit(browser, server) as visitor:
        await visitor.sign_in()
        run = await visitor.start(QUESTION)

        await expect(run.locator(".lane-name")).to_have_text(server.engine.topics.event_types)
        assert "lot_sold" in server.engine.topics.event_types
