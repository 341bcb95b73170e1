"""Gates that a run breaks: each is planted in a separate run, which ends with code 12, beside a twin that ends with 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from test_framework.tests.kit.reporting.suites import CONFIGURATION, Suite, report_task

pytestmark = pytest.mark.timeout(150)  # each starts separate Pythons, on a machine that may be busy

GATE_BROKEN = 12
WHOLE = ("-o", "testpaths=tests")  # a run of what is configured; of a selection some gates have no data
PASSES = "def test_good(): ...\n"


def suite_with(root: Path, tests: str, settings: str = "", *, folder: str = "unit") -> Suite:
    suite = Suite(root)
    suite.file("pyproject.toml", CONFIGURATION + settings)
    suite.file(f"tests/{folder}/test_a.py", tests)
    return suite


def adapter(name: str) -> str:
    return f'[tool.test_framework]\nproject = "adapter:{name}"\n'


@pytest.mark.parametrize(
    ("limit", "arguments", "code"),
    [
        (0.001, (), GATE_BROKEN),
        (0.001, ("-n2",), GATE_BROKEN),
        (0.001, ("--shard=1/1",), GATE_BROKEN),
        (600, (), 0),
    ],
    ids=["one process", "workers", "a shard", "held"],
)
def test_a_limit_of_the_project_ends_the_run(
    tmp_path: Path, limit: float, arguments: tuple[str, ...], code: int
) -> None:
    suite = suite_with(tmp_path, PASSES, f"[tool.reports.gates]\nsuite = {{ limit = {limit}, target = 0.001 }}\n")

    ended = suite.run(*WHOLE, *arguments)

    assert ended.code == code, ended.output
    assert ("exit code 12: no test failed, but a gate is broken" in ended.said) == bool(code)
    assert (f"gate      the whole suite: {{}} s, limit {limit:g}".partition("{}")[0] in ended.said) == bool(code)
    assert ("RED: no test failed, but a gate is broken: the whole suite" in ended.said) == bool(code)


@pytest.mark.parametrize(("limit", "code"), [(0.001, GATE_BROKEN), (600, 0)])
def test_the_command_judges_by_the_same_limit(tmp_path: Path, limit: float, code: int) -> None:
    suite = suite_with(tmp_path, PASSES, f"[tool.reports.gates]\nsuite = {{ limit = {limit}, target = 0.001 }}\n")
    suite.run(*WHOLE)
    done = report_task(suite, "gates(Context())")

    assert done.returncode == code, done
    assert f"{limit:g} s" in done.stdout, done
    assert ("broken gates: " in done.stdout) == bool(code), done


def test_a_limit_for_an_unknown_gate_refuses_the_run(tmp_path: Path) -> None:
    ended = suite_with(tmp_path, PASSES, "[tool.reports.gates]\nspeed = { limit = 1, target = 1 }\n").run()

    assert ended.code == pytest.ExitCode.USAGE_ERROR
    assert "[tool.reports.gates] knows no speed" in ended.output


def test_a_red_run_keeps_its_code(tmp_path: Path) -> None:
    ended = suite_with(tmp_path, "def test_bad():\n    assert False\n").run()

    assert ended.code == 1, ended.output
    assert "exit code 12" not in ended.said


LOSES = """
from commitstream.settings import EngineSettings
from test_framework.test_context import TestContext
from test_framework.tests.unit.websocket.liar import liar
from test_framework.tests.unit.websocket.planted import ada_of, text

async def test_that_does_not_look():
    lines = [text(seq, "noted") for seq in {numbers}]
    settings = EngineSettings(token_secret="x" * 48)
    async with liar(settings, lines) as server, TestContext(server, ada_of(settings)) as ada:
        await ada.wait_for_seq(4)
"""


@pytest.mark.parametrize(("numbers", "code"), [((1, 2, 4), GATE_BROKEN), ((1, 2, 3, 4), 0)])
def test_an_event_that_was_lost_unnoticed_ends_the_run(tmp_path: Path, numbers: tuple[int, ...], code: int) -> None:
    suite = suite_with(tmp_path, LOSES.format(numbers=numbers))

    ended = suite.run()

    assert ended.code == code, ended.output
    assert ("gate      lost events: tests/unit/test_a.py::test_that_does_not_look" in ended.said) == bool(code)


LANE = """
def test_a_run(record_property):
    events = [{{"type": name, "seq": seq}} for seq, name in enumerate({types}, 1)]
    record_property("events.lane", {{"run": "r", "events": events[:1]}})

def test_another(record_property):
    events = [{{"type": name, "seq": seq}} for seq, name in enumerate({types}, 1)]
    record_property("events.lane", {{"run": "s", "events": events[1:]}})
"""
TOPICS = """
from commitstream.events import Event
from commitstream.topics import Topic
from test_framework.websocket.adapter import CommitstreamAdapter

class Bid(Event): ...
class Outbid(Event): ...
class Sold(Event): ...

class Auction(CommitstreamAdapter):
    def topics(self):
        return [Topic("lot", events=[Bid, Outbid, Sold], may_watch=lambda user, key: True)]
"""


@pytest.mark.parametrize(("seen", "code"), [(["bid", "sold"], GATE_BROKEN), (["bid", "sold", "outbid"], 0)])
def test_a_declared_type_that_no_test_saw_ends_the_run(tmp_path: Path, seen: list[str], code: int) -> None:
    suite = suite_with(tmp_path, LANE.format(types=seen), adapter("Auction"))
    suite.file("adapter.py", TOPICS)

    ended = suite.run(*WHOLE)

    assert ended.code == code, ended.output
    assert ("gate      event types never seen: outbid" in ended.said) == bool(code)


SENDS_A_PERSON = """
import pytest
from test_framework.services.state import ServiceError

def test_that_expects_no_service(request):
    if {asked}:
        with pytest.raises(ServiceError):
            request.getfixturevalue("pool").get("redis", 1.0)
"""


@pytest.mark.parametrize(("asked", "code"), [(True, GATE_BROKEN), (False, 0)])
def test_a_service_that_cannot_be_brought_up_ends_the_run(tmp_path: Path, asked: bool, code: int) -> None:
    suite = suite_with(tmp_path, SENDS_A_PERSON.format(asked=asked), folder="integration")
    nowhere = f"unix://{tmp_path}/no-engine.sock"

    ended = suite.run("--mode=integration", SERVICES="compose", DOCKER_HOST=nowhere)

    assert ended.code == code, ended.output
    assert ("gate      manual interventions: redis" in ended.said) == bool(code)


LOSES_ITS_DATABASE = """
import asyncpg, pytest
from sqlalchemy import text
from commitstream.db.database import Database, DatabaseAway

async def test_that_goes_on_without(database_url):
    database = Database(database_url, 2)
    if {cut}:
        with pytest.raises(DatabaseAway):
            async with database.transaction() as first:
                pid = (await first.execute(text("SELECT pg_backend_pid()"))).scalar_one()
                async with database.transaction() as other:
                    await other.execute(text(f"SELECT pg_terminate_backend({{pid}})"))
                await first.execute(text("SELECT 1"))
    await database.ping()
    await database.close()
"""


@pytest.mark.parametrize(("cut", "code"), [(True, GATE_BROKEN), (False, 0)])
def test_a_connection_that_broke_unnoticed_ends_the_run(tmp_path: Path, cut: bool, code: int) -> None:
    suite = suite_with(tmp_path, LOSES_ITS_DATABASE.format(cut=cut), folder="integration")

    ended = suite.run("--mode=integration", SERVICES="bundled")

    assert ended.code == code, ended.output
    named = "gate      database connection failures: tests/integration/test_a.py::test_that_goes_on_without: "
    assert (named in ended.said) == bool(code)
