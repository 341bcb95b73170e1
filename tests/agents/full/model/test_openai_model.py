"""A real model's client against a real HTTP server: what it asks, what watchers see, and how it fails."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from pydantic import JsonValue

from app.agents import openai_model
from app.agents.dispatcher import ToolDispatcher
from app.agents.events import AgentThinking, RunEvent, ToolCompleted, ToolExecuting
from app.agents.model import Arguments, ModelCall, ModelError
from app.agents.openai_model import ATTEMPTS, STEPS, Endpoint, OpenAIModel
from app.agents.tool_context import Caller
from app.agents.tools import TOOLS
from test_framework.waiting import becomes
from tests.agents.full.model.endpoint import CUT, HANG, ChatServer, Reply, chat_server, refuses, says

KEY = "sk-very-secret"
WORDS = ("count_words", '{"text": "a b c"}')


@dataclass
class HeardTurn:
    """A turn with the service's own tools, that keeps what watchers would be shown."""

    heard: list[RunEvent] = field(default_factory=list)
    calls: list[ModelCall] = field(default_factory=list)
    dispatcher: ToolDispatcher = field(default_factory=lambda: ToolDispatcher(TOOLS))

    async def think(self, thought: str) -> None:
        await self._announce(AgentThinking(run_id="a run", thought=thought))

    async def call(self, tool: str, arguments: Arguments) -> JsonValue:
        return await self.dispatcher.call(tool, arguments, self._announce, Caller("ada", "a run"))

    async def record(self, call: ModelCall) -> None:
        self.calls.append(call)

    async def _announce(self, event: RunEvent) -> None:
        self.heard.append(event)

    @property
    def thoughts(self) -> list[str]:
        return [event.thought for event in self.heard if isinstance(event, AgentThinking)]

    @property
    def tools(self) -> list[tuple[str, str]]:
        return [(event.tool, event.status) for event in self.heard if isinstance(event, ToolCompleted)]


@asynccontextmanager
async def model_with(
    *replies: Reply, url: str = "{}", timeout: float = 10.0
) -> AsyncIterator[tuple[OpenAIModel, ChatServer]]:
    async with chat_server(*replies) as server:
        endpoint = Endpoint(url.format(server.url), KEY, "tiny", timeout=timeout, backoff=0.001)
        model = OpenAIModel(endpoint, TOOLS)
        yield model, server
        await model.close()


async def failure_of(*replies: Reply, timeout: float = 10.0) -> tuple[str, HeardTurn]:
    turn = HeardTurn()
    async with model_with(*replies, timeout=timeout) as (model, _):
        with pytest.raises(ModelError) as raised:
            await model.answer("hello", turn)
    return str(raised.value), turn


async def test_a_model_starts_where_the_environment_names_no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    openai_model._certificates.cache_clear()

    async with model_with(says("here")) as (model, _):
        assert await model.answer("hello", HeardTurn()) == "here"


async def test_the_words_of_a_model_are_its_answer() -> None:
    async with model_with(says("Grüß dich, 世界 🚀")) as (model, server):
        assert await model.answer("Sag „Grüß dich“ 🚀", HeardTurn()) == "Grüß dich, 世界 🚀"

        assert server.said_last()[-1] == {"role": "user", "content": "Sag „Grüß dich“ 🚀"}
        assert server.asked[0]["model"] == "tiny"
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"


async def test_answers_share_connections_which_are_closed_with_the_model() -> None:
    async with model_with(says("hello")) as (model, server):
        for _ in range(5):
            await model.answer("hello", HeardTurn())
        one_after_another = server.connections
        await asyncio.gather(*(model.answer("hello", HeardTurn()) for _ in range(5)))

        assert one_after_another == 1
        assert server.connections <= 5
        await model.close()
        await becomes(lambda: server.open == 0, "the end of every connection")


async def test_a_model_is_told_of_the_tools_with_their_schemas_and_docstrings() -> None:
    async with model_with(says("ok")) as (model, server):
        await model.answer("hello", HeardTurn())

        tools = server.asked[0]["tools"]
        assert isinstance(tools, list)
        (function,) = [t["function"] for t in tools if isinstance(t, dict) and "count_words" in str(t)]
        assert isinstance(function, dict)
        assert function["description"] == "Count the words of a text."
        parameters = function["parameters"]
        assert isinstance(parameters, dict)
        assert parameters["properties"] == {"text": {"type": "string"}}
        assert parameters["required"] == ["text"]


async def test_what_a_model_says_before_it_calls_a_tool_is_a_thought_and_the_call_is_announced() -> None:
    turn = HeardTurn()
    async with model_with(says("I shall count.", WORDS), says("Three words.")) as (model, server):
        assert await model.answer("count a b c", turn) == "Three words."

        assert [type(event) for event in turn.heard] == [AgentThinking, ToolExecuting, ToolCompleted]
        assert turn.heard[0].payload() == {"thought": "I shall count."}
        assert turn.heard[1].payload() == {"tool": "count_words", "arguments": {"text": "a b c"}}
        assert turn.heard[2].payload()["result"] == 3
        assert server.said_last()[-1] == {"role": "tool", "tool_call_id": "call_0", "content": "3"}


async def test_the_reasoning_of_a_model_is_a_thought_also_when_it_calls_nothing() -> None:
    turn = HeardTurn()
    async with model_with(says("42", reasoning_content="Deep thought.")) as (model, _):
        assert await model.answer("why", turn) == "42"

    assert turn.thoughts == ["Deep thought."]


async def test_several_calls_at_once_are_made_one_after_another_in_their_order() -> None:
    turn = HeardTurn()
    async with model_with(says(None, ("current_time", "{}"), WORDS), says("done")) as (model, _):
        await model.answer("hello", turn)

    assert [type(event) for event in turn.heard] == [ToolExecuting, ToolCompleted] * 2
    assert turn.tools == [("current_time", "ok"), ("count_words", "ok")]


async def test_a_tool_that_is_not_there_is_announced_and_the_model_told() -> None:
    turn = HeardTurn()
    async with model_with(says(None, ("rm_rf", '{"path": "/"}')), says("Then not.")) as (model, server):
        assert await model.answer("hello", turn) == "Then not."

        assert turn.heard[0].payload() == {"tool": "rm_rf", "arguments": {"path": "/"}}
        assert turn.tools == [("rm_rf", "failed")]
        assert "Unknown tool name: 'rm_rf'" in str(server.said_last()[-1]["content"])


@pytest.mark.parametrize("arguments", ['{"wrong": 1}', '{"text": "a", "more": 2}'])
async def test_a_tool_that_is_called_wrongly_fails_and_the_model_may_mend_its_call(arguments: str) -> None:
    turn = HeardTurn()
    async with model_with(says(None, ("count_words", arguments)), says(None, WORDS), says("3")) as (model, server):
        assert await model.answer("hello", turn) == "3"

        assert turn.tools == [("count_words", "failed"), ("count_words", "ok")]
        assert any(
            "invalid arguments for tool count_words" in str(message["content"]) for message in server.said_last()
        )


async def test_arguments_that_are_no_json_are_sent_back_to_the_model() -> None:
    turn = HeardTurn()
    async with model_with(says(None, ("count_words", '{"text": ')), says(None, WORDS), says("3")) as (model, _):
        assert await model.answer("hello", turn) == "3"

    assert turn.tools == [("count_words", "ok")]


@pytest.mark.parametrize("trouble", [refuses(429), refuses(500), refuses(503), refuses(529), CUT])
async def test_a_request_that_fails_for_a_moment_is_made_again(trouble: Reply) -> None:
    turn = HeardTurn()
    async with model_with(trouble, trouble, says("at last")) as (model, server):
        assert await model.answer("hello", turn) == "at last"

        assert len(server.asked) == 3
    assert [call.error is None for call in turn.calls] == [False, False, True]


async def test_an_endpoint_that_says_how_long_to_wait_is_asked_no_sooner() -> None:
    loop = asyncio.get_running_loop()
    async with model_with(refuses(429, wait=100), says("now")) as (model, _):
        started = loop.time()
        await model.answer("hello", HeardTurn())

    assert loop.time() - started >= 0.1


async def test_a_wait_that_is_too_long_is_a_failure_at_once() -> None:
    message, turn = await failure_of(refuses(429, wait=3_600_000))

    assert message == "tiny gave no answer: its endpoint is asked too often (429)"
    assert len(turn.calls) == 1


async def test_an_endpoint_that_keeps_failing_is_given_up() -> None:
    message, turn = await failure_of(refuses(500, words=f"Traceback: {KEY}"))

    assert message == "tiny gave no answer: its endpoint failed (500)"
    assert len(turn.calls) == ATTEMPTS


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (
            refuses(401, code="invalid_api_key", words=f"Incorrect API key provided: {KEY}"),
            "its endpoint refused the key: check APP_MODEL_KEY (401 invalid_api_key)",
        ),
        (
            refuses(404, code="model_not_found"),
            "its endpoint doesn't serve it: check APP_MODEL_NAME and APP_MODEL_URL (404 model_not_found)",
        ),
        (refuses(400, code=f"no {KEY} here"), "its endpoint refused the request (400)"),
        (refuses(429, code="insufficient_quota"), "the quota at its endpoint is used up (429 insufficient_quota)"),
    ],
)
async def test_a_request_that_can_not_succeed_is_made_once_and_explained_without_secrets(
    reply: Reply, reason: str
) -> None:
    message, turn = await failure_of(reply)

    assert message == f"tiny gave no answer: {reason}"
    assert [call.error for call in turn.calls] == [message]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"choices": [', "application/json"),
        (b"\xff\xfe\x00", "application/json"),
        (b"[]", "application/json"),
        (b'{"choices": []}', "application/json"),
        (b"<html>a proxy's greeting</html>", "text/html"),
        (b"", "application/json"),
    ],
)
async def test_an_answer_that_is_none_is_a_failure_and_no_crash(body: bytes, kind: str) -> None:
    message, turn = await failure_of(Reply(body=body, headers=(("content-type", kind),)))

    assert message.startswith("tiny gave no answer: what its endpoint answered can't be understood")
    assert len(turn.calls) == 1


async def test_an_endpoint_that_hangs_is_waited_for_no_longer_than_its_deadline() -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()

    message, turn = await failure_of(HANG, timeout=0.1)

    assert message == "tiny gave no answer within 0.1 s"
    assert loop.time() - started < 2.0
    assert len(turn.calls) == 1


async def test_an_endpoint_that_is_not_there_is_named_without_its_credentials(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "app")
    async with chat_server(says("ok")) as server:
        port = server.port
    url = f"http://ada:letmein@127.0.0.1:{port}/v1"
    turn = HeardTurn()

    with pytest.raises(ModelError) as raised:
        await OpenAIModel(Endpoint(url, KEY, "tiny", backoff=0.001), TOOLS).answer("hello", turn)

    assert str(raised.value) == "tiny gave no answer: its endpoint can't be reached: check APP_MODEL_URL"
    assert len(turn.calls) == ATTEMPTS
    assert "letmein" not in caplog.text + repr(turn.calls)


async def test_a_model_that_never_stops_calling_tools_is_stopped() -> None:
    turn = HeardTurn()
    async with model_with(says(None, WORDS)) as (model, server):
        with pytest.raises(ModelError, match=f"tiny was not done after {STEPS} steps"):
            await model.answer("hello", turn)

        assert len(server.asked) == STEPS


async def test_a_model_that_never_stops_calling_what_is_not_there_is_stopped() -> None:
    async with model_with(says(None, ("nothing", "{}"))) as (model, server):
        with pytest.raises(ModelError):
            await model.answer("hello", HeardTurn())

        assert len(server.asked) <= STEPS


async def test_an_answer_without_a_word_is_a_failure() -> None:
    message, _ = await failure_of(says(None))

    assert message.startswith("tiny gave no answer")


@pytest.mark.parametrize("nasty", ["null \x00 byte", "half an emoji \ud83d"])
async def test_what_no_database_can_hold_is_replaced_in_thoughts_and_answers(nasty: str) -> None:
    turn = HeardTurn()
    async with model_with(says(nasty, WORDS), says(nasty)) as (model, _):
        answer = await model.answer("hello", turn)

    for text in (answer, str(turn.thoughts[0]), str(turn.calls[0].answer), str(turn.calls[1].answer)):
        assert text.startswith(nasty[:4])
        assert "\x00" not in text
        text.encode()


async def test_every_request_is_recorded_with_what_is_new_in_it() -> None:
    turn = HeardTurn()
    async with model_with(says("I count.", WORDS), says("Three.")) as (model, _):
        await model.answer("count a b c", turn)

    assert [(call.prompt, call.answer) for call in turn.calls] == [
        ("count a b c", 'I count.\ncount_words({"text":"a b c"})'),
        ("count_words: 3", "Three."),
    ]
    assert {(call.model, call.input_tokens, call.output_tokens, call.error) for call in turn.calls} == {
        ("tiny", 11, 7, None)
    }
    assert all(call.milliseconds > 0 for call in turn.calls)


async def test_a_run_that_is_cancelled_leaves_a_record_and_no_request_behind() -> None:
    turn = HeardTurn()
    async with model_with(HANG) as (model, server):
        run = asyncio.create_task(model.answer("hello", turn))
        await asyncio.wait_for(server.heard.wait(), timeout=5)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    assert [call.error for call in turn.calls] == ["CancelledError"]


async def test_what_the_environment_says_of_other_endpoints_is_not_sent_to_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "of-another-endpoint")

    async with model_with(says("ok")) as (model, server):
        await model.answer("hello", HeardTurn())

        assert "of-another-endpoint" not in str(server.headers)


def test_the_service_is_imported_without_what_drives_a_real_model() -> None:
    lines = (
        "import sys, app.main, commitstream.engine; print([m for m in ('pydantic_ai', 'openai') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True, timeout=20)

    assert done.stdout.strip() == "[]"
