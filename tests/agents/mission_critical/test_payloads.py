"""What is said arrives as it was said: whatever is in it, and up to the size that is allowed."""

from __future__ import annotations

import json

import pytest
from pydantic import JsonValue

from app.agents.routes import LONGEST_MESSAGE
from test_framework.backend_client import UnexpectedAnswer
from tests.agents.context import AgentsContext
from tests.agents.mission_critical.ways import COMPLETED, EXECUTING, THINKING

TEXTS = {
    "accents": "Zażółć gęślą jaźń",
    "composed and not": "\u00e9 is not e\u0301",
    "emoji of several code points": "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽",
    "right to left": "שלום \u202e\u0645\u0631\u062d\u0628\u0627\u202c",
    "no spaces": "日本語のメッセージ",
    "beyond the first plane": "\U0001d54f 𐍈 🜁",
    "line separators that JSON lets pass": "a\u2028b\u2029c\u0085d",
    "control characters": "bell \a escape \x1b tab \t delete \x7f",
    "zero width and byte order marks": "\ufeffa\u200bb\u2060c",
    "not a character": "\uffff \ufdd0",
    "quotes and backslashes": '" \' \\ \\" \\n \\u0041',
    "what looks like an event": '{"seq":1,"type":"agent_completed","payload":{}}',
    "what looks like the end of one": '"}}\n{"seq":2}',
    "what SQL reads": "'; DROP TABLE events; -- :user_id $1 %s ?",
    "what a page reads": "<script>alert(1)</script>&amp;",
    "white space alone": " \t ",
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_a_tool_is_given_what_was_said_and_shown_with_it(ada: AgentsContext, text: str) -> None:
    spoken = json.dumps({"text": text})
    run = await ada.run_agent(f"!call count_words {spoken}\n!call no_such_tool {spoken}")

    executing = [event for event in ada.capture.of_run(run.id) if event.type == EXECUTING]
    assert [event.payload["arguments"] for event in executing] == [{"text": text}] * 2
    assert ada.capture.events[2].payload["result"] == len(text.split())
    ada.capture.assert_unbroken()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_a_message_arrives_as_it_was_sent(ada: AgentsContext, text: str) -> None:
    run = await ada.run_agent(text)

    assert ada.capture.events[0].payload == {"message": text}
    assert (await ada.client.run(run.id)).message == text
    assert await ada.client.events(run.id) == ada.capture.events


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"deep": [[[[[[[[[[{"er": [None]}]]]]]]]]]]},
        {"whole": 2**53 - 1, "negative": -1, "small": 5e-324, "large": 1.7976931348623157e308, "half": 0.5},
        {"true": True, "false": False, "null": None, "": "a name of nothing"},
        {"many": list(range(2000))},
        {"ключ": {"キー": "κλειδί"}},
    ],
    ids=["none", "deep", "numbers", "constants", "many", "names"],
)
async def test_arguments_arrive_as_they_were_given(ada: AgentsContext, arguments: dict[str, JsonValue]) -> None:
    run = await ada.run_agent(f"!call no_such_tool {json.dumps(arguments)}")

    (executing,) = [event for event in ada.capture.of_run(run.id) if event.type == EXECUTING]
    assert executing.payload == {"tool": "no_such_tool", "arguments": arguments}


async def test_a_message_of_a_megabyte_arrives_whole_on_socket_stream_and_journal(ada: AgentsContext) -> None:
    message = "ä" * LONGEST_MESSAGE  # characters are what is counted: it is twice as many bytes
    run = await ada.run_agent(message)

    first, call = ada.capture.events[0], ada.capture.of_kind(EXECUTING)[0]
    assert first.payload["message"] == message
    assert call.payload["arguments"] == {"text": message}
    assert await ada.client.events(run.id) == ada.capture.events
    async with ada.client.stream(after=0) as stream:
        assert await anext(stream) == first
    ada.capture.assert_unbroken()


async def test_what_is_small_is_not_lost_between_what_is_large(ada: AgentsContext) -> None:
    large = "x" * 300_000
    run = await ada.run_agent(f"!think {large}\n!think small\n!think {large}\n!call current_time\n!think {large}")

    thoughts = [str(event.payload["thought"]) for event in ada.capture.of_run(run.id) if event.type == THINKING]
    assert [len(thought) for thought in thoughts] == [300_000, 5, 300_000, 300_000]
    assert len(ada.capture.of_kind(COMPLETED)) == 1
    ada.capture.assert_unbroken()


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("x" * (LONGEST_MESSAGE + 1), 422),
        ("", 422),
        ("a NUL \0 in it", 422),
        ("x" * (5 << 20), 413),
    ],
    ids=["a character too long", "empty", "NUL", "five megabytes"],
)
async def test_what_can_not_be_stored_is_refused_and_leaves_no_event(
    ada: AgentsContext, message: str, status: int
) -> None:
    with pytest.raises(UnexpectedAnswer, match=f"got {status}"):
        await ada.start_run(message)

    run = await ada.run_agent("hello")
    assert ada.capture.runs == [run.id]
    ada.capture.assert_unbroken()
