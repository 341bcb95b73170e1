"""A hub whose journal and bus a test holds in its hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from commitstream import hub as hub_module
from commitstream.counters import EventCounters
from commitstream.hub import Hub
from commitstream.tests.unit.events.worlds import HeldJournal, QuietBus


@pytest.fixture
def journal() -> HeldJournal:
    return HeldJournal()


@pytest.fixture
def bus() -> QuietBus:
    return QuietBus()


@pytest.fixture
def tally() -> EventCounters:
    return EventCounters()


@pytest_asyncio.fixture
async def hub(
    journal: HeldJournal, bus: QuietBus, tally: EventCounters, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Hub]:
    """A hub that looks into the journal by itself only when it is told to, so that the bus must do."""
    monkeypatch.setattr(hub_module, "RECONCILE_SECONDS", 3600.0)
    others = asyncio.all_tasks()  # of a server that serves many tests, say
    hub = Hub(journal, bus, tally)
    await hub.start()
    yield hub
    await hub.close()
    left = [task for task in asyncio.all_tasks() - others if task.get_name().startswith("hub:")]
    assert not left, f"the hub left tasks behind: {left}"
