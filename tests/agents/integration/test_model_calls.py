"""What models were asked stands in the database beside the events, whichever model it was."""

from __future__ import annotations

from app.agents.model import ModelCall
from app.agents.runs import Origin, Runs
from app.domains import topics
from commitstream.counters import EventCounters
from commitstream.db.database import Database
from commitstream.journal import Journal
from commitstream.outbox import Outbox
from test_framework.fixtures import MakeSettings
from test_framework.servers import in_loop
from tests.agents.context import AgentsContext
from tests.agents.integration.calls import recorded


async def test_a_scripted_run_leaves_one_call_whose_tokens_are_its_words(
    make_settings: MakeSettings, database_url: str
) -> None:
    async with in_loop(make_settings()) as server, AgentsContext(server) as ada:
        run = await ada.run_agent("how many words are these")

    (call,) = await recorded(database_url)
    assert (call.run_id, call.user_id, call.model) == (run.id, ada.user.id, "scripted")
    assert (call.prompt, call.answer, call.error) == ("how many words are these", "Your message has 5 words.", None)
    assert (call.input_tokens, call.output_tokens) == (5, 5)


async def test_a_scripted_run_that_fails_leaves_the_reason(make_settings: MakeSettings, database_url: str) -> None:
    async with in_loop(make_settings()) as server, AgentsContext(server) as ada:
        await ada.run_agent("!fail out of ideas")

    (call,) = await recorded(database_url)
    assert (call.answer, call.error) == (None, "out of ideas")


async def test_a_cancelled_run_leaves_its_call_too(make_settings: MakeSettings, database_url: str) -> None:
    async with in_loop(make_settings()) as server, AgentsContext(server) as ada:
        run = await ada.client.start_run("!think first\n!stall 60")
        await ada.wait_for_seq(2)
        await ada.client.cancel(run.id)
        await ada.wait_for_end(run.id)

    (call,) = await recorded(database_url)
    assert call.error == "CancelledError"


async def test_a_call_that_is_written_twice_stands_there_once(database_url: str) -> None:
    database = Database(database_url)
    runs = Runs(database, Journal(database, Outbox(EventCounters()), topics()), owner="here")
    call = ModelCall("tiny", "prompt", "answer")

    await runs.record(Origin("ada"), "run", call)
    await runs.record(Origin("ada"), "run", call)
    await database.close()

    assert len(await recorded(database_url)) == 1
