"""Workers of one run, side by side: they share the servers they must, and see nothing of each other."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from test_framework import CHECKOUT

INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = session
asyncio_default_test_loop_scope = session
addopts = --import-mode=importlib -p no:anyio -p no:schemathesis -p no:randomly -p no:cacheprovider
"""
NOSY = """
    import asyncio, os, time
    from pathlib import Path
    import pytest
    from redis.asyncio import Redis
    from sqlalchemy import text
    from commitstream.db.database import Database

    MEETING = Path({meeting!r})

    async def meet(place):
        (MEETING / f"{{place}}-{{os.environ['PYTEST_XDIST_WORKER']}}").touch()
        async with asyncio.timeout(20):
            while len(list(MEETING.glob(f"{{place}}-*"))) < 2:
                await asyncio.sleep(0.01)

    @pytest.mark.parametrize("who", ["one", "other"])
    async def test_that_looks_for_the_other(who, database_url, redis_url, redis_namespace):
        database = Database(database_url)
        async with Redis.from_url(redis_url) as redis:
            ear = redis.pubsub()
            await ear.psubscribe("test-*")
            await ear.get_message(timeout=5)
            await meet("ready")

            async with database.transaction() as session:
                await session.execute(text("INSERT INTO commitstream_streams (stream, last_seq) VALUES ('ada', 1)"))
            await redis.set(f"{{redis_namespace}}:mine", who)
            await redis.publish(f"{{redis_namespace}}:events", who)
            await meet("written")

            async with database.reading() as session:
                assert await session.scalar(text("SELECT count(*) FROM commitstream_streams")) == 1
            assert await redis.keys("*:mine") == [f"{{redis_namespace}}:mine".encode()]
            heard = []
            while message := await ear.get_message(ignore_subscribe_messages=True, timeout=0.3):
                heard.append(message["data"].decode())
            assert heard == [who]
            await ear.aclose()
        await database.close()
        await meet("looked")
"""
UNEVEN = """
    import time
    from commitstream.db.database import Database

    def test_that_asks_first_and_is_done_first(pool):
        pool.get("postgres"), pool.get("redis")

    async def test_that_goes_on(pool, database_url, redis_url):
        from redis.asyncio import Redis
        database = Database(database_url)
        async with Redis.from_url(redis_url) as redis:
            until = time.monotonic() + 2
            while time.monotonic() < until:
                await database.ping()
                await redis.ping()
        await database.close()
"""


def run(pytester: pytest.Pytester, source: str, *arguments: str, mode: str = "integration") -> pytest.RunResult:
    """Run a file of tests in a run of its own."""
    pytester.makeini(INI)
    folder = pytester.mkdir("tests") / ("unit" if mode == "lightweight" else "integration")
    folder.mkdir()
    (folder / "test_inner.py").write_text(textwrap.dedent(source))
    return pytester.runpytest_subprocess("-p", "test_framework.plugin", f"--mode={mode}", *arguments, timeout=60)


@pytest.fixture(autouse=True)
def _on_bundled_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    monkeypatch.setenv("SERVICES", "bundled")
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_TESTRUNUID", "PYTEST_ADDOPTS", "TEST_MODE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.timeout(90)
def test_parallel_workers_see_neither_rows_nor_keys_nor_messages_of_each_other(
    pytester: pytest.Pytester, tmp_path: Path
) -> None:
    result = run(pytester, NOSY.format(meeting=str(tmp_path)), "-n", "2", "--dist", "load")

    result.assert_outcomes(passed=2)
    assert re.search(r"redis: \d+ connections opened, on 2 servers", result.stdout.str())


@pytest.mark.timeout(90)
def test_a_worker_that_asks_first_and_ends_first_stops_nothing_under_the_others(pytester: pytest.Pytester) -> None:
    result = run(pytester, UNEVEN, "-n", "2", "--dist", "load")

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["started postgres in * ms", "postgres: * connections opened*", "stopped what *"])


@pytest.mark.timeout(90)
def test_whoever_leaves_the_database_amiss_fails_and_the_next_does_not(pytester: pytest.Pytester) -> None:
    source = """
        from sqlalchemy import text
        from commitstream.db.database import Database

        async def test_that_changes_the_schema(database_url):
            database = Database(database_url)
            async with database.engine.begin() as connection:
                await connection.execute(text("CREATE TABLE stray (id int)"))
            await database.close()

        async def test_that_comes_next(database_url):
            database = Database(database_url)
            async with database.reading() as session:
                assert await session.scalar(text("SELECT to_regclass('stray')")) is None
            await database.close()

        async def test_that_leaves_a_key(redis_url):
            from redis.asyncio import Redis
            async with Redis.from_url(redis_url) as redis:
                await redis.set("stray", 1)
    """
    result = run(pytester, source)

    result.assert_outcomes(passed=3, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_that_changes_the_schema*",
            "*+ table stray*",
            "*ERROR at teardown of test_that_leaves_a_key*",
            "*key stray*",
        ]
    )


def test_a_run_that_asks_for_no_service_starts_none(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_nothing(): ...")

    result.assert_outcomes(passed=1)
    assert "started" not in result.stdout.str()
