"""The consumer that docs/consumers.md shows works as it is written there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.events.envelope import Draft
from app.events.kinds import EventKind
from app.events.subscriber import Subscriber
from app.lifecycle.cleanup import CleanupCoordinator
from app.lifecycle.plan import Phase
from app.main import plan
from app.service import Service
from app.settings import ROOT
from test_framework.fixtures import MakeSettings
from tests.unit.events.consumption import eventually


async def test_the_consumer_of_the_document_writes_a_line_for_every_event(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    document = (ROOT / "docs/consumers.md").read_text(encoding="utf-8")
    write, wire, start, *_ = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    service, cleanup = Service(make_settings()), CleanupCoordinator()
    startup = plan(service, cleanup)
    names = {"Subscriber": Subscriber, "Phase": Phase, "self": service, "service": service, "startup": startup}

    for passage in (write, wire, start):
        exec(compile(passage, "docs/consumers.md", "exec", dont_inherit=True), names)
    await startup.run()
    async with service.database.transaction() as session:
        await service.journal.log_event(session, "ada", *[Draft.write("a run", EventKind.AGENT_THINKING)] * 2)

    async def written() -> bool:
        return len(audited()) == 2

    await eventually(written, "two lines")
    await cleanup.run("the test is over")
    assert [line.partition(" ")[2] for line in audited()] == [f"ada {n} agent_thinking a run" for n in (1, 2)]


def audited() -> list[str]:
    file = Path("audit.log")
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []
