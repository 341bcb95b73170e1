"""Lists are read in pages, bounded in number and in size, and between two pages nothing is lost and nothing comes twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from app.agents.events import AgentThinking
from app.agents.runs import Origin, Runs
from app.agents.tables import RunStatus
from commitstream.journal import PAGE_CHARACTERS
from commitstream.topics import user_stream
from test_framework.fixtures import MakeSettings
from test_framework.servers import in_loop
from test_framework.users import TestUserContext
from test_framework.websocket.event_path import EventPath
from tests.agents.client import AgentsClient

LARGE = "x" * (PAGE_CHARACTERS // 3)
Json = dict[str, Any]


async def pages(client: AgentsClient, path: str) -> list[list[Json]]:
    """Follow the links from a page to the last; what a page holds before its last entry fills no more than its bound."""
    found: list[list[Json]] = []
    while path:
        answer = await client.request("GET", path)
        assert answer.status_code == 200, answer.text
        found.append(answer.json())
        assert sum(len(json.dumps(entry)) for entry in found[-1][:-1]) < PAGE_CHARACTERS * 1.1
        path = answer.links.get("next", {}).get("url", "")
    return found


@pytest.mark.parametrize("limit", [1, 7, 20, 500])
async def test_the_pages_of_a_run_hold_every_event_once(
    path: EventPath, make_settings: MakeSettings, limit: int
) -> None:
    settings = make_settings()
    ada, bob = TestUserContext.of(settings), TestUserContext.of(settings)
    runs = Runs(path.database, path.journal, "here")
    run, _ = await runs.start(Origin(ada.id), "hello", None)
    other, _ = await runs.start(Origin(bob.id), "hello", None)
    thoughts = [*("short" for _ in range(9)), *(LARGE for _ in range(7)), LARGE * 5, *("short" for _ in range(3))]
    for thought in thoughts:
        for user, about in ((bob, other), (ada, run)):
            async with path.database.transaction() as session:
                event = AgentThinking(run_id=about.id, thought=thought)
                await path.journal.append(session, user_stream(user.id), event)

    async with in_loop(settings) as server, AgentsClient(server.url, ada.token) as client:
        found = await pages(client, f"/api/runs/{run.id}/events?limit={limit}")

    events = [event for page in found for event in page]
    assert [event["seq"] for event in events] == list(range(1, len(thoughts) + 2))
    assert [event["payload"].get("thought") for event in events[1:]] == thoughts
    assert all(len(page) <= limit for page in found)
    assert found[-1]


@pytest.mark.parametrize("limit", [1, 4, 500])
async def test_the_pages_of_a_list_hold_every_run_once_also_those_of_one_moment(
    path: EventPath, make_settings: MakeSettings, limit: int
) -> None:
    settings = make_settings()
    ada = TestUserContext.of(settings)
    runs = Runs(path.database, path.journal, "here")
    made = []
    for number in range(12):
        run, _ = await runs.start(Origin(ada.id), LARGE if number % 2 else "short", None)
        await runs.finish(Origin(ada.id), run.id, RunStatus.COMPLETED, {})
        made.append(run.id)
    async with path.database.transaction() as session:
        moment = "(SELECT min(created_at) FROM runs)"
        await session.execute(text(f"UPDATE runs SET created_at = {moment} WHERE message = 'short'"))

    async with in_loop(settings) as server, AgentsClient(server.url, ada.token) as client:
        found = await pages(client, f"/api/runs?limit={limit}")

    listed = [(run["created_at"], run["id"]) for page in found for run in page]
    assert sorted(run_id for _, run_id in listed) == sorted(made)
    assert [at for at, _ in listed] == sorted((at for at, _ in listed), reverse=True)
    assert all(0 < len(page) <= limit for page in found)
    assert len({json.dumps(page) for page in found}) == len(found)
