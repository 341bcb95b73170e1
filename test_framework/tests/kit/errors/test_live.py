"""Some of what the corpus holds is broken again, here and now: today's pytest, drivers and servers are told apart as well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from test_framework.error_reporter import ErrorReporter
from test_framework.errors.categories import Category, Responsibility
from test_framework.tests.corpus.scenario import Scenario, project, run
from test_framework.tests.corpus.scenarios import SCENARIOS

SAMPLE = (
    "redis-killed",
    "redis-full",
    "postgres-killed",
    "postgres-has-no-such-database",
    "tables-never-migrated-postgres",
    "engine-unreachable",
    "server-ends-at-its-start",
    "port-bound-twice-by-the-test",
    "socket-without-a-valid-token",
    "component-does-not-start",
    "pool-of-another-loop",
    "scope-mismatch",
    "keys-left-behind",
    "key-error-in-the-app",
    "wrong-arithmetic-of-the-test",
)
MANY = 53


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    with project() as base:
        yield base


@pytest.mark.timeout(120)
@pytest.mark.parametrize("scenario", [one for one in SCENARIOS if one.family in SAMPLE], ids=lambda one: one.family)
def test_what_is_broken_now_is_what_is_said(base: Path, scenario: Scenario) -> None:
    failures = run(scenario, base)

    said = ErrorReporter().explain(failures).failures

    expected = {(str(scenario.category), str(scenario.fault))}
    assert {(str(one.category), str(one.fault)) for one in said} == expected, [
        failure.to_json() for failure in failures
    ]


@pytest.mark.timeout(180)
def test_one_dead_redis_under_many_tests_of_two_workers_is_one_cause(base: Path) -> None:
    dead = Scenario(
        "many",
        Category.REDIS,
        Responsibility.INFRASTRUCTURE,
        f"""
        import asyncio, pytest, redis, redis.asyncio

        @pytest.fixture(scope="session", autouse=True)
        def dead(pool):
            url = pool.get("redis").url
            pool.get("redis").kill()
            return url

        @pytest.mark.parametrize("number", range({MANY - 3}))
        def test_ping(dead, number):
            with redis.Redis.from_url(dead) as client:
                client.ping()

        @pytest.mark.parametrize("number", range(3))
        async def test_wait(dead, number):
            async with asyncio.timeout(0.2):
                await asyncio.Event().wait()
        """,
        mode="integration",
        arguments=("-n", "2"),
        take=MANY,
    )

    failures = run(dead, base)

    diagnosis = ErrorReporter().explain(failures)
    assert [(str(one.category), str(one.fault), one.count) for one in diagnosis.causes] == [
        ("redis", "infrastructure", MANY)
    ]
    assert "-n 2" in diagnosis.causes[0].reproduce
    assert diagnosis.causes[0].reproduce.startswith("SERVICES=bundled ")


def test_what_was_worked_out_of_a_shared_folder_is_not_taken_for_what_another_test_left(base: Path) -> None:
    worked_out = Scenario(
        "worked-out",
        Category.ASSERTION,
        Responsibility.CODE,
        """
        import pytest

        @pytest.fixture(scope="module")
        def tree(tmp_path_factory):
            folder = tmp_path_factory.mktemp("tree")
            (folder / "readme.txt").write_text("fine\\nTODO\\n")
            return folder

        def test_no_trace(tree):
            lines = [line for file in tree.iterdir() for line in file.read_text().splitlines()]
            traces = [line for line in lines if "TODO" in line]
            assert traces == []
        """,
    )

    said = ErrorReporter().explain(run(worked_out, base)).failures

    assert [str(one.category) for one in said] == [str(Category.ASSERTION)]
