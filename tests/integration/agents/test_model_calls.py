"""What models were asked stands in the database beside the events, whichever model it was."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from app.agents.models import ModelCall
from app.agents.runs import Origin, Runs
from app.db.database import Database
from app.db.models import ModelCallEntry
from app.events.journal import Journal
from app.events.outbox import Outbox
from app.events.tally import Tally
from test_framework.fixtures import MakeSettings
from test_framework.servers import in_loop
from test_framework.test_context import TestContext
from tests.integration.agents.endpoint import chat_server, refuses, says


async def recorded(database_url: str) -> Sequence[ModelCallEntry]:
    database = Database(database_url)
    async with database.reading() as session:
        calls = (await session.scalars(select(ModelCallEntry).order_by(ModelCallEntry.at))).all()
    await database.close()
    return calls


async def test_a_scripted_run_leaves_one_call_whose_tokens_are_its_words(
    make_settings: MakeSettings, database_url: str
) -> None:
    async with in_loop(make_settings()) as server, TestContext(server) as ada:
        run = await ada.run_agent("how many words are these")

    (call,) = await recorded(database_url)
    assert (call.run_id, call.user_id, call.model) == (run.id, ada.user.id, "scripted")
    assert (call.prompt, call.answer, call.error) == ("how many words are these", "Your message has 5 words.", None)
    assert (call.input_tokens, call.output_tokens) == (5, 5)


async def test_a_scripted_run_that_fails_leaves_the_reason(make_settings: MakeSettings, database_url: str) -> None:
    async with in_loop(make_settings()) as server, TestContext(server) as ada:
        await ada.run_agent("!fail out of ideas")

    (call,) = await recorded(database_url)
    assert (call.answer, call.error) == (None, "out of ideas")


async def test_a_cancelled_run_leaves_its_call_too(make_settings: MakeSettings, database_url: str) -> None:
    async with in_loop(make_settings()) as server, TestContext(server) as ada:
        run = await ada.client.start_run("!think first\n!stall 60")
        await ada.wait_for_seq(2)
        await ada.client.cancel(run.id)
        await ada.wait_for_end(run.id)

    (call,) = await recorded(database_url)
    assert call.error == "CancelledError"


async def test_a_real_model_works_on_a_run_with_the_services_tools_and_leaves_every_request(
    make_settings: MakeSettings, database_url: str
) -> None:
    replies = refuses(503), says("Let me see.", ("count_words", '{"text": "a b c"}')), says("Three.")
    async with chat_server(*replies) as endpoint:
        settings = make_settings(model="openai", model_url=endpoint.url, model_name="tiny", model_key="secret")
        async with in_loop(settings) as server, TestContext(server) as ada:
            run = await ada.run_agent("count a b c")

            assert ada.capture.events[-1].payload == {"status": "completed", "answer": "Three."}
            ada.capture.assert_grammatical(run.id)

    calls = await recorded(database_url)
    assert [call.error for call in calls] == ["tiny gave no answer: its endpoint is overloaded (503)", None, None]
    assert [call.answer for call in calls[1:]] == ['Let me see.\ncount_words({"text":"a b c"})', "Three."]
    assert {(call.run_id, call.user_id) for call in calls} == {(run.id, ada.user.id)}


async def test_a_run_on_a_model_that_lets_nobody_in_fails_and_says_why(make_settings: MakeSettings) -> None:
    async with chat_server(refuses(401)) as endpoint:
        settings = make_settings(model="openai", model_url=endpoint.url, model_name="tiny")
        async with in_loop(settings) as server, TestContext(server) as ada:
            await ada.run_agent("hello")

    assert ada.capture.events[-1].payload == {
        "status": "failed",
        "error": "tiny gave no answer: its endpoint refused the key: check APP_MODEL_KEY (401)",
    }


async def test_a_call_that_is_written_twice_stands_there_once(database_url: str) -> None:
    database = Database(database_url)
    runs = Runs(database, Journal(database, Outbox(Tally())), owner="here")
    call = ModelCall("tiny", "prompt", "answer")

    await runs.record(Origin("ada"), "run", call)
    await runs.record(Origin("ada"), "run", call)
    await database.close()

    assert len(await recorded(database_url)) == 1
