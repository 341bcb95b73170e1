"""The dashboard as a reader meets it: opened from disk in a real browser, searched, walked by keys, followed by links."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from test_framework.reporting import page, sample
from test_framework.reporting.model import Matrix, Report
from test_framework.reporting.summary import summarise

CODE_BYTES = 1_000_000
PATIENCE_MS = 10_000
PANELS = {
    "failures": "Failures",
    "changes": "What changed",
    "gates": "Gates",
    "tests": "Tests × runs",
    "flaky": "Unsteady tests",
    "time": "Time",
    "resources": "Machine and services",
    "events": "Event path",
    "ci": "Health over time",
    "trust": "Can this be trusted?",
}


@dataclass
class Reader:
    """Somebody who has the page open, and hears what the browser complains of."""

    page: Page
    file: Path
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    async def opens(self, report: Report, place: str = "") -> None:
        text = await asyncio.to_thread(page.render, report)  # seconds, for a large report
        self.file.write_text(text, encoding="utf-8")
        await self.page.goto(f"{self.file.as_uri()}{place}")
        await self.page.wait_for_selector("footer")


@pytest_asyncio.fixture
async def reader(browser: Browser, tmp_path: Path) -> AsyncIterator[Reader]:
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    reading = Reader(await context.new_page(), tmp_path / "report.html")
    reading.page.on("console", lambda said: reading.complaints.append(said.text) if said.type != "log" else None)
    reading.page.on("pageerror", lambda error: reading.complaints.append(str(error)))
    reading.page.on("request", lambda request: reading.requests.append(request.url))
    yield reading
    await context.close()
    assert reading.complaints == []
    assert {url for url in reading.requests if not url.startswith("file:")} == set(), "the page asked somebody"


@pytest.fixture(scope="module")
def report() -> Report:
    return sample.demo()


async def test_every_panel_is_there_and_says_what_it_shows(reader: Reader, report: Report) -> None:
    await reader.opens(report)

    for identifier, title in PANELS.items():
        await expect(reader.page.locator(f"#{identifier} h2")).to_have_text(title)
    await expect(reader.page.locator("h1")).to_have_text(report.verdict.reason)
    await expect(reader.page.locator("nav a")).to_have_count(len(PANELS))


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(lambda: summarise([sample.green()], []), id="the first run ever, green"),
        pytest.param(lambda: summarise([sample.killed()], []), id="killed half-way"),
        pytest.param(lambda: summarise(sample.sharded(missing=[2]), []), id="a shard is missing"),
        pytest.param(lambda: summarise([replace(sample.green(), results=())], []), id="no test at all"),
    ],
)
async def test_a_run_with_little_to_tell_is_shown_too(reader: Reader, made: Callable[[], Report]) -> None:
    report = made()

    await reader.opens(report)

    await expect(reader.page.locator("h1")).to_have_text(report.verdict.reason)
    await expect(reader.page.locator("section")).to_have_count(len(PANELS))


async def test_the_legend_of_events_is_what_the_record_declares(reader: Reader) -> None:
    declared = ("order_lost", *reversed(sample.TYPES))

    await reader.opens(summarise([replace(sample.green(), event_types=declared)], []))

    legend = reader.page.locator("#events h3:text('Runs') + .legend li")
    await expect(legend).to_have_text(list(declared))
    marks = reader.page.locator(f"#events .track.events i[title$=' {sample.TYPES[0]}']")
    await expect(marks.first).to_have_class(f"type-{declared.index(sample.TYPES[0])}")


async def test_a_search_leaves_what_answers_to_it(reader: Reader, report: Report) -> None:
    await reader.opens(report)
    test = report.failures[0].test
    words = test.partition("::")[2].replace("test_", "").replace("_", " ")

    await reader.page.keyboard.press("/")
    await reader.page.keyboard.type(words)
    await reader.page.locator("select[name=show]").select_option("red")

    await expect(reader.page.locator(".row").first).to_contain_text(test.partition("::")[2])
    shown = await reader.page.locator(".row").count()
    assert 1 <= shown <= len(report.failures)


async def test_a_link_opens_a_test_and_back_closes_it(reader: Reader, report: Report) -> None:
    test = report.failures[0].test
    await reader.opens(report)

    await reader.page.locator("#failures .test a").first.click()

    dialog = reader.page.locator("dialog[open]")
    await expect(dialog.locator("h2")).to_have_text(reader_test := await dialog.locator("h2").inner_text())
    assert reader_test in {failure.test for failure in report.failures}
    await reader.opens(report, f"#test={quote(test, safe='')}")
    await expect(reader.page.locator("dialog[open] h2")).to_have_text(test)
    await reader.page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)


async def test_a_link_may_carry_a_search(reader: Reader, report: Report) -> None:
    await reader.opens(report, "#q=hub&show=all")

    await expect(reader.page.locator("input[name=q]")).to_have_value("hub")
    await expect(reader.page.locator(".row").first).to_contain_text("hub")


async def test_the_keyboard_walks_the_list_and_opens_a_test(reader: Reader, report: Report) -> None:
    await reader.opens(report)

    await reader.page.locator(".long").focus()
    await reader.page.keyboard.press("End")
    await reader.page.keyboard.press("ArrowUp")
    chosen = await reader.page.locator('.row[aria-selected="true"] .name').get_attribute("title")
    await reader.page.keyboard.press("Enter")

    await expect(reader.page.locator("dialog[open] h2")).to_have_text(chosen or "nothing was chosen")


async def test_what_a_test_says_is_text_and_never_markup(reader: Reader, report: Report) -> None:
    hostile = "</script><img src=x onerror=\"document.title='taken'\"><b>bold</b> \u2028 {{ }} $& /* style */"
    failure = replace(report.failures[0], message=hostile, detail=hostile)

    await reader.opens(replace(report, failures=(failure, *report.failures[1:])))

    await expect(reader.page.locator("#failures summary small").first).to_contain_text("</script><img")
    assert await reader.page.title() != "taken"
    assert await reader.page.locator("#failures img, #failures b").count() == 0


async def test_ten_thousand_tests_of_fifty_runs_are_a_few_rows_at_a_time(reader: Reader) -> None:
    await reader.opens(await asyncio.to_thread(sample.demo, size=sample.Size(tests=10_000, runs=50)))
    rows = reader.page.locator(".row")

    await expect(reader.page.locator("output.count")).to_contain_text("10,0")
    seen = [await rows.count()]
    for _ in range(5):
        await reader.page.locator(".long").evaluate("(list) => { list.scrollTop += list.scrollHeight / 6; }")
        await expect(rows.first).to_be_attached()
        seen.append(await rows.count())

    assert max(seen) < 80
    assert await reader.page.evaluate("document.querySelectorAll('*').length") < 20_000


async def test_the_page_reads_well_in_the_dark_and_on_paper(reader: Reader, report: Report) -> None:
    await reader.opens(report)
    grounds = []
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for colours in schemes:
        await reader.page.emulate_media(color_scheme=colours)
        grounds.append(await reader.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    await reader.page.emulate_media(media="print", color_scheme="light")

    assert len(set(grounds)) == 2
    await expect(reader.page.locator("nav")).to_be_hidden()
    await expect(reader.page.locator("#gates table")).to_be_visible()


async def test_a_narrow_window_does_not_scroll_sideways(reader: Reader, report: Report) -> None:
    await reader.page.set_viewport_size({"width": 390, "height": 800})

    await reader.opens(report)

    too_wide = """[...document.querySelectorAll("main > *, main > * > *, header > *, footer")]
        .filter((each) => each.getBoundingClientRect().right > innerWidth + 1).map((each) => each.outerHTML.slice(0, 200))"""
    assert await reader.page.evaluate(too_wide) == []
    assert await reader.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_code_of_the_page_is_small(report: Report) -> None:
    code = len(page.render(replace(report, results=(), matrix=Matrix(), failures=())))

    assert code < CODE_BYTES
