"""The app raises, or is wrong."""

from __future__ import annotations

from test_framework.errors.categories import Category, Responsibility
from test_framework.tests.corpus.scenario import Scenario

A, CODE = Category.ASSERTION, Responsibility.CODE
COUNT = "    return len(text.split())"
USES = """
        from app.agents.tools import count_words

        async def test_count():
            assert await count_words("a b") == 2
        """


def broken(family: str, line: str, test: str = USES) -> Scenario:
    """A tool of the app whose only line is this one."""
    return Scenario(family, A, CODE, test, patches=(("app/agents/tools.py", COUNT, line),))


SCENARIOS = (
    broken("key-error-in-the-app", '    return {"words": 2}["wrods"]'),
    broken("index-error-in-the-app", "    return text.split()[9]"),
    broken("name-error-in-the-app", "    return len(txt.split())"),
    broken("attribute-error-in-the-app", "    return len(text.spilt())"),
    broken("none-in-the-app", "    found = None\n    return found.count"),
    broken("type-error-in-the-app", '    return len(text) + "2"'),
    broken("zero-division-in-the-app", "    return len(text) // 0"),
    broken("value-error-in-the-app", '    return int(text)'),
    broken("unbound-local-in-the-app", "    if not text:\n        words = 0\n    return words"),
    broken("assert-in-the-app", '    assert not text, "no text wanted"\n    return 0'),
    broken("group-in-the-app", """    import asyncio

    async def part() -> int:
        return {}[text]

    async with asyncio.TaskGroup() as group:
        group.create_task(part())
    return 2"""),
    broken("chained-in-the-app", """    try:
        return {}[text]
    except KeyError as error:
        raise ValueError("these words can't be counted") from error"""),
    broken("json-in-the-app", "    import json\n    return json.loads(text)"),
    broken("wrong-value-of-the-app", "    return len(text)"),
    broken("wrong-value-through-names", "    return len(text)", """
        from app.agents.tools import count_words

        async def test_count():
            text = "a b c"
            words = await count_words(text)
            expected = len(["a", "b", "c"])
            assert words == expected, f"{words} words"

        async def test_many():
            for text, expected in (("a b", 2), ("", 0)):
                assert await count_words(text) == expected
        """),
    broken("nothing-raised-by-the-app", "    return 0", """
        import pytest
        from app.agents.tools import count_words

        async def test_refused():
            with pytest.raises(ValueError):
                await count_words("")
        """),
    Scenario("wrong-state-of-the-app", A, CODE, """
        from app.agents.events import AgentStarted

        def test_started():
            started = AgentStarted(run_id="1", message="hello")
            assert started.payload()

        def test_shown():
            started = AgentStarted(run_id="1", message="hello")
            shown = started.payload()
            assert shown
        """, patches=(("app/agents/events.py", 'return self.model_dump(mode="json", exclude={"run_id"}, exclude_unset=True)', "return {}"),)),
    Scenario("wrong-answer-of-the-app", A, CODE, """
        from test_framework.test_context import TestContext

        async def test_message(server):
            async with TestContext(server) as ada:
                run = await ada.run_agent("hello")
                assert run.message == "hello"

        async def test_answer(server):
            async with TestContext(server) as ada:
                run = await ada.run_agent("one two three")
                assert "3 words" in ada.capture.events[-1].payload["answer"]
        """, patches=(("app/agents/tools.py", COUNT, "    return 7"), ("app/agents/routes.py", "        return cls.model_validate(run, from_attributes=True)", "        return cls.model_validate(run, from_attributes=True).model_copy(update={'message': ''})"))),
    Scenario("error-500-of-the-app", A, CODE, """
        import httpx
        from test_framework.test_context import TestContext

        async def test_list(server):
            async with TestContext(server) as ada:
                assert (await ada.client.request("GET", "/api/runs")).status_code == 200

        async def test_runs(server):
            async with TestContext(server) as ada:
                await ada.client.runs()
        """, patches=(("app/agents/domain.py", "        app.state.runs = self.runs\n", "        @app.get('/api/runs')\n        async def listed() -> dict[str, str]:\n            return {'runs': {}['nosuch']}\n\n        app.state.runs = self.runs\n"),)),
    Scenario("model-refuses-in-the-app", A, CODE, """
        from commitstream.envelope import Envelope

        def test_read():
            Envelope.read('{"v": 1}')
        """, patches=(("commitstream/envelope.py", "class Envelope(BaseModel, frozen=True):\n", 'class Envelope(BaseModel, frozen=True):\n    @classmethod\n    def read(cls, text: str) -> "Envelope":\n        return cls.model_validate_json(text)\n\n'),)),
    Scenario("raised-at-import-of-the-app", A, CODE, USES, patches=(("app/agents/tools.py", "TOOLS = (count_words, current_time)", 'TOOLS = (count_words, current_time)\nNAMES = {tool.__name__: tool for tool in TOOLS}["nosuch"]'),)),
    Scenario("setting-up-the-app-raises", A, CODE, """
        import pytest

        @pytest.fixture
        def app(settings):
            from app.main import create_app
            return create_app(settings)

        def test_title(app):
            assert app.title
        """, patches=(("commitstream/engine.py", "        self.draining = False\n", "        self.draining = False\n        self.limit = settings.drain_secs\n"),)),
)  # fmt: skip
