"""Which fixture lives how long, and in which loop: each case is a test file of its own in a pytest run of its own.

A scope that is wrong shows where it would for whoever writes a test: in the collection, the set-up or the call of a test
that looks innocent. So each case is run as people would run it, and its outcome is read from the run's log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import dedent

import pytest

from test_framework.running.planted import PlantedOutcome, outcomes_of_cases

PRELUDE = """
    import asyncio
    import pytest
    import pytest_asyncio
"""


@dataclass(frozen=True)
class Case:
    """A test file, what has to become of its tests, and words that the report has to say."""

    source: str
    results: str
    words: str = ""


CASES: dict[str, Case] = {
    "an async fixture of the session and a test share one loop": Case(
        """
        @pytest_asyncio.fixture(scope="session", loop_scope="session")
        async def loop():
            return asyncio.get_running_loop()

        async def test_it(loop):
            assert asyncio.get_running_loop() is loop
        """,
        "passed",
    ),
    "a lock made for the session is good in every test": Case(
        """
        @pytest_asyncio.fixture(scope="session", loop_scope="session")
        async def lock():
            lock = asyncio.Lock()
            await lock.acquire()  # somebody has to wait for a lock before it belongs to a loop
            waiting = asyncio.ensure_future(lock.acquire())
            await asyncio.sleep(0)
            lock.release()
            await waiting
            lock.release()
            return lock

        async def test_one(lock):
            async with lock:
                assert not await taken_again(lock)

        async def test_another(lock):
            async with lock:
                assert not await taken_again(lock)

        async def taken_again(lock):
            try:
                await asyncio.wait_for(lock.acquire(), 0.01)
            except TimeoutError:
                return False
            return True
        """,
        "passed passed",
    ),
    "a test that asks for a loop of its own is told when it touches the session's": Case(
        """
        @pytest_asyncio.fixture(scope="session", loop_scope="session")
        async def future():
            return asyncio.get_running_loop().create_future()

        @pytest.mark.asyncio(loop_scope="function")
        async def test_it(future):
            await future
        """,
        "failed",
        "attached to a different loop",
    ),
    "an async fixture of a test, its set-up, its test and its end share one loop": Case(
        """
        seen = []

        @pytest.fixture
        async def loop():
            seen.append(asyncio.get_running_loop())
            yield
            seen.append(asyncio.get_running_loop())

        async def test_one(loop):
            seen.append(asyncio.get_running_loop())

        async def test_two():
            assert len(seen) == 3
            assert set(seen) == {asyncio.get_running_loop()}
        """,
        "passed passed",
    ),
    "a plain test is given what an async fixture made and not its coroutine": Case(
        """
        @pytest.fixture
        async def made():
            await asyncio.sleep(0)
            return "made"

        def test_it(made):
            assert made == "made"
        """,
        "passed",
    ),
    "asyncio.run in an async test is refused where it stands": Case(
        """
        async def test_it():
            coroutine = asyncio.sleep(0)
            try:
                asyncio.run(coroutine)
            finally:
                coroutine.close()
        """,
        "failed",
        "asyncio.run() cannot be called from a running event loop",
    ),
    "asyncio.run in a plain test leaves the session's loop as it was": Case(
        """
        @pytest_asyncio.fixture(scope="session", loop_scope="session")
        async def loop():
            return asyncio.get_running_loop()

        async def test_before(loop):
            assert asyncio.get_running_loop() is loop

        def test_between():
            asyncio.run(asyncio.sleep(0))

        async def test_after(loop):
            assert asyncio.get_running_loop() is loop
        """,
        "passed passed passed",
    ),
    "a fixture of the session can not ask for a test's settings": Case(
        """
        @pytest.fixture(scope="session")
        def wide(settings):
            return settings

        def test_it(wide): ...
        """,
        "error",
        "ScopeMismatch",
    ),
    "a fixture of a module can not ask for a test's database": Case(
        """
        @pytest.fixture(scope="module")
        def wide(database_url):
            return database_url

        def test_it(wide): ...
        """,
        "error",
        "You tried to access the function scoped fixture database_url with a module scoped request object",
    ),
    "an async fixture of the session can not ask for a test's server": Case(
        """
        @pytest_asyncio.fixture(scope="session", loop_scope="session")
        async def wide(server):
            return server

        async def test_it(wide): ...
        """,
        "error",
        "You tried to access the function scoped fixture server with a session scoped request object",
    ),
    "a fixture of a class can not ask for a test's user": Case(
        """
        @pytest.fixture(scope="class")
        def wide(ada):
            return ada

        class TestIt:
            def test_it(self, wide): ...
        """,
        "error",
        "You tried to access the function scoped fixture ada with a class scoped request object",
    ),
    "a fixture of a module may ask for what the session has": Case(
        """
        @pytest.fixture(scope="module")
        def wide(mode, shared_server):
            return mode, shared_server

        def test_it(wide):
            assert wide[0] == "lightweight"
            assert wide[1].url.startswith("http://127.0.0.1:")
        """,
        "passed",
    ),
    "the rows of one test are not there in the next": Case(
        """
        from sqlalchemy import text
        from commitstream.db.database import Database

        @pytest.mark.parametrize("time", [1, 2])
        async def test_it(database_url, time):
            database = Database(database_url)
            async with database.transaction() as session:
                assert await session.scalar(text("SELECT count(*) FROM commitstream_streams")) == 0
                await session.execute(text("INSERT INTO commitstream_streams (stream, last_seq) VALUES ('user:ada', 1)"))
            await database.close()
        """,
        "passed passed",
    ),
    "the settings of one test are not those of the next": Case(
        """
        seen = []

        @pytest.mark.parametrize("time", [1, 2, 3])
        def test_it(settings, time):
            seen.append((settings.database_url, settings.channel_prefix, settings.signing_key))
            assert [len(set(column)) for column in zip(*seen)] == [time] * 3
        """,
        "passed passed passed",
    ),
    "all that one test asks for is of the same database": Case(
        """
        def test_it(settings, make_settings, database_url):
            assert settings.database_url == make_settings().database_url == database_url
        """,
        "passed",
    ),
    "the shared server is one and a test's own is another": Case(
        """
        seen = []

        @pytest.mark.parametrize("time", [1, 2])
        async def test_it(server, shared_server, time):
            seen.append((server.url, shared_server.url))
            assert server.url != shared_server.url
            assert len({shared for _, shared in seen}) == 1
        """,
        "passed passed",
    ),
    "the shared server outlives a test that fails in the middle of a run": Case(
        """
        from types import SimpleNamespace

        async def test_one(ada):
            await ada.client.request("POST", "/api/runs", json={"message": "!stall 60"})
            raise LookupError("in the middle")

        async def test_another(ada):
            run = SimpleNamespace(**(await ada.client.request("POST", "/api/runs", json={"message": "hello"})).json())
            await ada.wait_for_end(run.id)
            ada.capture.assert_grammatical(run.id)
            assert ada.capture.runs == [run.id]
        """,
        "failed passed",
        "in the middle",
    ),
    "two users of one test are two, and those of the next are others": Case(
        """
        seen = set()

        @pytest.mark.parametrize("time", [1, 2])
        async def test_it(ada, bob, time):
            seen.update({ada.user.id, bob.user.id})
            assert len(seen) == 2 * time
            assert ada.server is bob.server
        """,
        "passed passed",
    ),
    "a module's own settings reach the server that its tests ask for": Case(
        """
        @pytest.fixture
        def settings(make_settings):
            return make_settings(token_audience="the module's own")

        async def test_it(server):
            assert server.settings.token_audience == "the module's own"
        """,
        "passed",
    ),
    "what breaks at the end of a fixture is an error of its test and of no other": Case(
        """
        @pytest.fixture
        async def broken():
            yield
            raise LookupError("broken at its end")

        async def test_one(broken): ...

        async def test_another(ada):
            await ada.ping()
        """,
        "passed error passed",
        "broken at its end",
    ),
    "what breaks in the set-up of a fixture undoes what was set up before it": Case(
        """
        undone = []

        @pytest.fixture
        async def first():
            yield
            undone.append("first")

        @pytest.fixture
        async def second(first):
            raise LookupError("broken in its set-up")

        async def test_one(second): ...

        def test_another():
            assert undone == ["first"]
        """,
        "error passed",
        "broken in its set-up",
    ),
    "a fixture of the session with parameters is made once for each": Case(
        """
        made = []

        @pytest_asyncio.fixture(scope="session", loop_scope="session", params=["a", "b"])
        async def each(request):
            made.append(request.param)
            return request.param

        async def test_one(each): ...

        async def test_another(each):
            assert made.count(each) == 1
        """,
        "passed passed passed passed",
    ),
    "a class's fixture is made once for all its tests and in their loop": Case(
        """
        @pytest_asyncio.fixture(scope="class", loop_scope="session")
        async def made():
            return [asyncio.get_running_loop()]

        class TestIt:
            async def test_one(self, made):
                made.append("one")

            async def test_another(self, made):
                assert made == [asyncio.get_running_loop(), "one"]
        """,
        "passed passed",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, PlantedOutcome]:
    """What became of every case."""
    return outcomes_of_cases(
        tmp_path_factory, "scopes", {name: dedent(PRELUDE) + dedent(case.source) for name, case in CASES.items()}
    )


@pytest.mark.parametrize("name", CASES)
def test_it_is_so_that(outcomes: Mapping[str, PlantedOutcome], name: str) -> None:
    case, outcome = CASES[name], outcomes[name]

    assert " ".join(outcome.results) == case.results, outcome.words
    assert case.words in outcome.words
