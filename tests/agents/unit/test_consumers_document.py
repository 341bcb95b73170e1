"""The consumer that docs/consumers.md shows works as it is written there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.agents.events import TOPICS, AgentStarted
from app.db.schema import migrations
from app.settings import ROOT
from commitstream.application import plan
from commitstream.consumers.consumer import Consumer
from commitstream.domain import Domain
from commitstream.engine import Engine
from commitstream.lifecycle.cleanup import CleanupCoordinator
from commitstream.lifecycle.plan import Phase
from commitstream.topics import user_stream
from test_framework.fixtures import MakeSettings
from test_framework.waiting import becomes


async def test_the_consumer_of_the_document_writes_a_line_for_every_event(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    document = (ROOT / "docs/consumers.md").read_text(encoding="utf-8")
    write, wire, start, *_ = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    engine, cleanup = Engine(make_settings(), migrations=migrations, topics=TOPICS), CleanupCoordinator()
    domain, startup = Domain(), plan(engine, (), cleanup)
    names = {"Consumer": Consumer, "Phase": Phase, "self": domain, "engine": engine, "startup": startup}

    for passage in (write, wire, start):
        exec(compile(passage, "docs/consumers.md", "exec", dont_inherit=True), names)
    await startup.run()
    async with engine.database.transaction() as session:
        for run_id in ("one", "two"):
            await engine.journal.append(session, user_stream("ada"), AgentStarted(run_id=run_id, message="hello"))

    await becomes(lambda: len(audited()) == 2, "two lines")
    await cleanup.run("the test is over")
    assert [line.partition(" ")[2] for line in audited()] == [f"user:ada {n} agent_started" for n in (1, 2)]


def audited() -> list[str]:
    file = Path("audit.log")
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []
