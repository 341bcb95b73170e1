"""From the commit to the bus: by one hook, over any thread, to the last event, and never at the expense of the commit."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import sys
from collections.abc import Sequence
from types import ModuleType

import pytest

from commitstream import outbox as outbox_module
from commitstream.bus.base import MemoryBus
from commitstream.counters import EventCounters
from commitstream.envelope import Batch
from commitstream.outbox import Outbox, Relay
from commitstream.tests.unit.events.worlds import HeldJournal, batch_of
from commitstream.topics import user_stream
from test_framework.websocket.event_path import EventPath, thought

DEADLINE_SECONDS = 2.0
ADA = user_stream("ada")


class GatedBus(MemoryBus):
    """A bus that holds what it is given until it is let go; `fault` is what it raises then."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.open.set()
        self.fault: Exception | None = None
        self.published: list[Batch] = []

    async def publish(self, batches: Sequence[Batch]) -> None:
        await self.open.wait()
        if self.fault is not None:
            raise self.fault
        self.published += batches

    @property
    def spans(self) -> list[tuple[str, int, int]]:
        return [(batch.stream, batch.first, batch.last) for batch in self.published]


def imported_again() -> ModuleType:
    """The outbox as a second module, as a program gets it that also has `app/` itself on its path."""
    spec = importlib.util.spec_from_file_location("events.outbox", outbox_module.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


async def commit(path: EventPath, *texts: str) -> None:
    async with path.database.transaction() as session:
        await path.journal.append(session, ADA, *(thought(text) for text in texts))


class TestTheHook:
    async def test_a_module_imported_under_two_names_publishes_once(self, path: EventPath) -> None:
        imported_again().Outbox(EventCounters())
        Outbox(EventCounters())

        await commit(path, "a")
        async with path.database.transaction() as session, session.begin_nested():
            await path.journal.append(session, ADA, thought("b"))
        await path.settle()

        assert path.bus.frames("user:ada") == await path.written("user:ada")
        assert (path.tally.committed, path.tally.published) == (2, 2)

    async def test_a_rollback_costs_no_look_into_the_journal(self, path: EventPath) -> None:
        journal = HeldJournal()
        path.outbox.feed(relay := Relay(GatedBus(), journal.after_each, path.tally))

        async with path.database.transaction() as session, session.begin_nested():
            await path.journal.append(session, ADA, thought("a"))
            await session.rollback()
        async with path.database.reading() as session:
            await path.journal.head("user:ada")
        await relay.close()

        assert journal.reads == []

    async def test_without_a_relay_a_commit_is_a_commit(self, path: EventPath) -> None:
        path.outbox.feed(None)

        await commit(path, "a")

        assert len(await path.written("user:ada")) == 1
        assert path.bus.published == []

    async def test_a_commit_is_no_slower_for_a_bus_that_hangs(self, path: EventPath) -> None:
        bus = GatedBus()
        bus.open.clear()
        relay = Relay(bus, path.journal.after_each, path.tally)
        path.outbox.feed(relay)

        async with asyncio.timeout(DEADLINE_SECONDS):
            for text in "abc":
                await commit(path, text)
        bus.open.set()
        await relay.close()

        assert [span[1:] for span in bus.spans] == [(1, 1), (2, 3)]


class TestTheRelay:
    async def test_what_comes_together_is_published_together(self) -> None:
        bus = GatedBus()
        relay = Relay(bus, HeldJournal().after_each, EventCounters())

        for user, first, last in [("user:ada", 1, 2), ("user:bob", 1, 1), ("user:ada", 3, 3), ("user:ada", 5, 5)]:
            relay.take(batch_of(user, first, last))
        await relay.close()

        assert bus.spans == [("user:ada", 1, 3), ("user:ada", 5, 5), ("user:bob", 1, 1)]

    async def test_closing_publishes_what_was_taken(self) -> None:
        bus = GatedBus()
        bus.open.clear()
        relay = Relay(bus, HeldJournal().after_each, EventCounters())
        relay.take(batch_of("user:ada", 1, 1))
        await asyncio.sleep(0)
        relay.take(batch_of("user:ada", 2, 2))

        closing = asyncio.create_task(relay.close(DEADLINE_SECONDS))
        await asyncio.sleep(0)
        bus.open.set()
        await closing

        assert bus.spans == [("user:ada", 1, 1), ("user:ada", 2, 2)]

    async def test_closing_waits_for_a_bus_that_hangs_until_its_deadline(self) -> None:
        bus = GatedBus()
        bus.open.clear()
        relay = Relay(bus, HeldJournal().after_each, EventCounters())
        relay.take(batch_of("user:ada", 1, 1))

        async with asyncio.timeout(DEADLINE_SECONDS):
            await relay.close(0.02)

        assert bus.spans == []

    async def test_it_outlives_a_bus_that_fails_as_nobody_thought_it_could(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        bus = GatedBus()
        relay = Relay(bus, HeldJournal().after_each, EventCounters())
        bus.fault = RuntimeError("never thought of")
        with caplog.at_level(logging.ERROR):
            relay.take(batch_of("user:ada", 1, 1))
            assert await relay.idle(DEADLINE_SECONDS)

        bus.fault = None
        relay.take(batch_of("user:ada", 2, 2))
        await relay.close()

        assert bus.spans == [("user:ada", 2, 2)]
        assert "hubs will read them" in caplog.text

    async def test_it_holds_so_much_and_leaves_the_rest_to_the_journal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(outbox_module, "LONGEST_QUEUE", 3)
        bus, tally = GatedBus(), EventCounters()
        relay = Relay(bus, HeldJournal().after_each, tally)

        for seq in range(1, 6):
            relay.take(batch_of("user:ada", seq, seq))
        await relay.close()

        assert bus.spans == [("user:ada", 1, 3)]
        assert (tally.published, tally.left_to_journal) == (3, 2)

    async def test_of_what_is_in_doubt_it_publishes_what_the_journal_has(self) -> None:
        bus, journal = GatedBus(), HeldJournal()
        journal.commit("user:ada", 3)
        relay = Relay(bus, journal.after_each, EventCounters())

        relay.take(batch_of("user:ada", 2, 2), certain=False)
        relay.take(batch_of("user:ada", 4, 4), certain=False)
        relay.take(batch_of("user:bob", 1, 1), certain=False)
        await relay.close()

        assert bus.spans == [("user:ada", 2, 2)]

    async def test_a_journal_that_can_not_be_read_holds_up_only_what_is_in_doubt(self) -> None:
        bus, journal = GatedBus(), HeldJournal()
        journal.fault = ConnectionError("away")
        relay = Relay(bus, journal.after_each, EventCounters())

        relay.take(batch_of("user:ada", 1, 1), certain=False)
        relay.take(batch_of("user:bob", 1, 1))
        await relay.close()

        assert bus.spans == [("user:bob", 1, 1)]


class TestOtherThreads:
    async def test_a_commit_in_another_thread_and_loop_is_handed_over(self, path: EventPath, database_url: str) -> None:
        from commitstream.db.database import Database
        from commitstream.journal import Journal

        async def commit_there() -> None:
            database = Database(database_url)
            journal = Journal(database, path.outbox, path.journal.topics)
            for number in range(20):
                async with database.transaction() as session:
                    await journal.append(session, ADA, thought(str(number)))
            await database.close()

        await asyncio.to_thread(asyncio.run, commit_there())
        await asyncio.sleep(0)
        await path.settle()

        assert path.bus.frames("user:ada") == await path.written("user:ada")
        assert len(path.bus.frames("user:ada")) == 20

    async def test_a_relay_whose_loop_has_ended_breaks_no_commit(self, path: EventPath) -> None:
        async def make() -> Relay:
            relay = Relay(MemoryBus(), path.journal.after_each, EventCounters())
            await relay.close()
            return relay

        path.outbox.feed(await asyncio.to_thread(asyncio.run, make()))

        await commit(path, "a")

        assert len(await path.written("user:ada")) == 1

    async def test_many_threads_hand_over_everything(self) -> None:
        bus = GatedBus()
        relay = Relay(bus, HeldJournal().after_each, EventCounters())

        def hand_over(user: str) -> None:
            for seq in range(1, 101):
                relay.take(batch_of(user, seq, seq))

        await asyncio.gather(*(asyncio.to_thread(hand_over, user) for user in "abcd"))
        await asyncio.sleep(0)
        await relay.close()

        assert sum(len(batch.frames) for batch in bus.published) == 400
