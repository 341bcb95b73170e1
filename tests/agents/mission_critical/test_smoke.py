"""Each part of a service that has just been started answers: what to run first, and to read first when much is red."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from app.agents.tables import RunStatus
from app.identity import identity
from app.settings import ROOT
from commitstream.lifecycle.plan import Phase, State
from commitstream.service.health import Check
from test_framework.servers import Server
from test_framework.waiting import becomes
from tests.agents.client import AgentsClient
from tests.agents.context import AgentsContext
from tests.agents.mission_critical.ways import STARTED, THE_FIVE


async def test_its_event_loop_turns(ada: AgentsContext) -> None:
    assert await ada.client.live()


async def test_it_is_ready_and_so_is_what_it_depends_on(ada: AgentsContext) -> None:
    async def ready() -> bool:
        return (await ada.client.ready()).status == "ready"

    await becomes(ready, "the service ready")  # on a busy machine the bus may have missed a beat just now

    readiness = await ada.client.ready()
    assert readiness.checks == {name: Check(ok=True, detail="answers") for name in ("database", "bus")}


async def test_it_has_been_through_every_phase_in_order(ada: AgentsContext) -> None:
    report = await ada.client.startup()

    assert report.ready
    assert [phase.name for phase in report.phases] == list(Phase)
    assert {phase.state for phase in report.phases} == {State.READY}
    components = {component.name for phase in report.phases for component in phase.components}
    assert components >= {"database", "migrations", "bus", "relay", "hub", "runner"}


async def test_it_says_its_numbers(ada: AgentsContext) -> None:
    await ada.run_agent("!stall 0")
    numbers: dict[str, float] = {}

    async def all_said() -> bool:
        """In full there are two processes, and each counts for itself: ask until both have answered."""
        async with AgentsClient(ada.server.url) as anybody:
            for name, value in (await anybody.metrics()).items():
                numbers[name] = max(value, numbers.get(name, 0.0))
        return numbers["watchers"] >= 1 and numbers["events_committed_total"] >= 2

    await becomes(all_said, "a watcher and two events in the numbers")
    assert numbers["runs_silent"] == 0
    assert {"bus_healthy", "events_left_to_journal_total", "slow_sockets_closed_total"} <= numbers.keys()


async def test_it_describes_its_interface_under_its_own_name(ada: AgentsContext) -> None:
    described = await ada.client.description()

    assert described["info"]["title"] == identity().name
    assert described["info"]["version"] == identity().version


async def test_it_shows_its_page_under_its_own_name(ada: AgentsContext) -> None:
    assert identity().name in await ada.client.page()


@pytest.mark.parametrize(
    "file", sorted(path.name for path in (ROOT / "app/agents/web").iterdir() if path.suffix != ".html")
)
async def test_it_serves_what_its_page_is_made_of(ada: AgentsContext, file: str) -> None:
    assert await ada.client.web_file(file) == (ROOT / "app/agents/web" / file).read_text(encoding="utf-8")


async def test_it_gives_a_token_that_it_accepts(shared_server: Server) -> None:
    async with AgentsClient(shared_server.url) as nobody:
        token = await nobody.make_token("smoke")

        assert token.user == "smoke"
        assert (await nobody.using(token.token).request("GET", "/api/runs")).status_code == 200


async def test_it_knows_nobody_without_a_token(ada: AgentsContext) -> None:
    answer = await ada.client.using(None).request("GET", "/api/runs")

    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_it_has_no_runs_of_somebody_new(ada: AgentsContext) -> None:
    assert await ada.client.runs() == []


async def test_it_takes_a_run_and_says_where_it_is(ada: AgentsContext) -> None:
    answer = await ada.client.request("POST", "/api/runs", json={"message": "hello"})

    assert answer.status_code == 202
    assert (await ada.client.request("GET", answer.headers["Location"])).json()["message"] == "hello"
    await ada.wait_for_end(answer.json()["id"])


async def test_it_brings_a_run_to_its_end(ada: AgentsContext) -> None:
    run = await ada.run_agent("hello")

    shown = await ada.client.run(run.id)
    assert (run.status, shown.status) == (RunStatus.RUNNING, RunStatus.COMPLETED)
    assert shown.finished_at is not None
    assert shown.created_at <= shown.finished_at <= datetime.now(UTC) + timedelta(seconds=1)


async def test_it_lists_runs_the_newest_first_a_page_at_a_time(ada: AgentsContext) -> None:
    runs = [await ada.run_agent("!stall 0") for _ in range(3)]

    first = await ada.client.runs(limit=2)
    rest = await ada.client.runs(before=first[-1].created_at)

    assert [view.id for view in [*first, *rest]] == [run.id for run in reversed(runs)]


async def test_it_reads_a_run_s_events_from_the_journal_a_page_at_a_time(ada: AgentsContext) -> None:
    run = await ada.run_agent("hello")

    pages = [await ada.client.events(run.id, after=after, limit=2) for after in (0, 2, 4)]

    assert [len(page) for page in pages] == [2, 2, 1]
    assert [event for page in pages for event in page] == ada.capture.events


async def test_it_cancels_a_run(ada: AgentsContext) -> None:
    run = await ada.start_run("!stall 60")

    await ada.client.cancel(run.id)
    await ada.wait_for_end(run.id)

    assert (await ada.client.run(run.id)).status is RunStatus.CANCELLED


async def test_it_greets_a_socket_and_answers_it(ada: AgentsContext) -> None:
    await ada.ping()

    assert (ada.connections, ada.capture.said) == (1, [{"type": "pong"}])


async def test_it_shows_a_run_live_on_a_socket(ada: AgentsContext) -> None:
    await ada.start_run("hello")

    assert [event.type for event in await ada.wait_for_events(THE_FIVE)] == list(THE_FIVE)


async def test_it_shows_a_run_live_on_a_stream(ada: AgentsContext) -> None:
    async with ada.client.stream() as stream:
        await ada.start_run("!stall 0")

        assert (await anext(stream)).type == STARTED


async def test_it_tells_errors_as_problems_with_the_request_s_own_id(ada: AgentsContext) -> None:
    answer = await ada.client.request("GET", "/nowhere", headers={"X-Request-ID": "smoke-1"})

    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json()["status"], answer.headers["x-request-id"]) == (404, "smoke-1")


async def test_it_answers_to_no_other_name_than_its_own(ada: AgentsContext) -> None:
    assert (await ada.client.request("GET", "/health/live", headers={"Host": "elsewhere.example"})).status_code == 400


async def test_it_answers_many_at_once(ada: AgentsContext) -> None:
    assert all(await asyncio.gather(*(ada.client.live() for _ in range(50))))


async def test_it_says_nothing_that_is_not_json_on_a_socket(ada: AgentsContext) -> None:
    await ada.run_agent("hello")

    assert ada.capture.malformed == []
    assert all(json.loads(event.model_dump_json())["v"] == 2 for event in ada.capture.events)
