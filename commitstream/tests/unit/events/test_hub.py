"""The hub, with a journal and a bus held in the hand: whatever these do, a watcher sees each event once and in order."""

from __future__ import annotations

import asyncio
import random

import pytest

from commitstream import hub as hub_module
from commitstream.counters import EventCounters
from commitstream.envelope import Batch
from commitstream.hub import Hub, UnknownCursor
from commitstream.journal import PAGE
from commitstream.tests.unit.events.worlds import DEADLINE_SECONDS, Eye, HeldJournal, QuietBus, batch_of, turns
from commitstream.watchers import QUEUE_BATCHES, CloseReason, Live, QueueWatcher

USER = "user:ada"


class TestReplayAndLive:
    async def test_a_watcher_is_shown_what_was_before_it_and_what_comes_after(
        self, hub: Hub, journal: HeldJournal
    ) -> None:
        journal.commit(USER, PAGE * 2 + 3)
        eye = Eye()

        await hub.attach(eye, USER)
        await eye.reach(PAGE * 2 + 3)
        hub.receive(journal.commit(USER))

        eye.assert_exact(PAGE * 2 + 4)

    async def test_what_comes_during_the_replay_is_neither_missed_nor_shown_twice(
        self, hub: Hub, journal: HeldJournal
    ) -> None:
        journal.commit(USER, 3)
        eye = Eye()
        await hub.attach(eye, USER)
        journal.open.clear()

        hub.receive(journal.commit(USER, 2))
        await turns()
        hub.receive(journal.commit(USER, 2))
        journal.open.set()
        await eye.reach(7)
        hub.receive(journal.commit(USER))

        eye.assert_exact(8)

    async def test_a_page_that_runs_ahead_of_the_bus_is_not_shown_again_by_it(
        self, hub: Hub, journal: HeldJournal
    ) -> None:
        journal.commit(USER, 3)
        first, late = Eye(3), Eye()
        await hub.attach(first, USER)
        ahead = journal.commit(USER, 2)

        await hub.attach(late, USER)
        await late.reach(3)
        await turns()
        hub.receive(ahead)
        hub.receive(journal.commit(USER))
        await late.reach(6)

        late.assert_exact(6)
        first.assert_exact(6)

    async def test_what_the_bus_brings_before_the_head_is_read_is_not_missed(
        self, hub: Hub, journal: HeldJournal
    ) -> None:
        eye = Eye()
        journal.open.clear()
        attaching = asyncio.create_task(hub.attach(eye, USER))
        await turns()

        hub.receive(journal.commit(USER))
        journal.open.set()
        await attaching
        await eye.reach(1)

        eye.assert_exact(1)

    @pytest.mark.parametrize("seed", range(20))
    async def test_there_is_no_seam_whenever_a_watcher_comes(self, hub: Hub, journal: HeldJournal, seed: int) -> None:
        chance = random.Random(seed)
        eyes: list[Eye] = []
        in_flight = []
        for _ in range(60):
            in_flight.append(journal.commit(USER, chance.randint(1, 4)))
            if chance.random() < 0.5:
                for batch in in_flight:
                    hub.receive(batch)
                in_flight.clear()
            if chance.random() < 0.3:
                eyes.append(Eye(chance.randint(0, journal.numbers[USER])))
                await hub.attach(eyes[-1], USER)
            await turns(chance.randint(0, 6))
        for batch in in_flight:
            hub.receive(batch)

        last = journal.numbers[USER]
        for eye in eyes:
            await eye.reach(last)
            eye.assert_exact(last)


class TestWhatTheBusBrings:
    @pytest.mark.parametrize("seed", range(20))
    async def test_duplicates_gaps_and_disorder_never_reach_a_watcher(
        self, hub: Hub, journal: HeldJournal, seed: int
    ) -> None:
        chance = random.Random(seed)
        eye = Eye()
        await hub.attach(eye, USER)

        batches = [journal.commit(USER, chance.randint(1, 5)) for _ in range(50)]
        brought = [batch for batch in batches if chance.random() < 0.7] * 2
        chance.shuffle(brought)
        for batch in brought:
            hub.receive(batch)
            await turns(chance.randint(0, 3))
        hub.receive(journal.commit(USER))
        await eye.reach(journal.numbers[USER])

        eye.assert_exact(journal.numbers[USER])

    async def test_overlapping_batches_are_shown_once(self, hub: Hub, journal: HeldJournal) -> None:
        eye = Eye()
        await hub.attach(eye, USER)
        journal.commit(USER, 6)

        for first, last in [(1, 3), (2, 5), (5, 5), (1, 6)]:
            hub.receive(batch_of(USER, first, last))

        eye.assert_exact(6)

    async def test_a_gap_is_filled_before_anything_later_is_shown(
        self, hub: Hub, journal: HeldJournal, tally: EventCounters
    ) -> None:
        eye = Eye()
        await hub.attach(eye, USER)
        journal.commit(USER, 3)

        hub.receive(journal.commit(USER))
        assert eye.seen == []
        await eye.reach(4)

        eye.assert_exact(4)
        assert tally.gaps_filled == 4

    async def test_events_of_users_whom_nobody_watches_are_let_go(self, hub: Hub, tally: EventCounters) -> None:
        hub.receive(batch_of("user:bob", 1, 3))

        assert (tally.received, tally.delivered) == (0, 0)

    async def test_nobody_is_shown_the_events_of_another(self, hub: Hub, journal: HeldJournal) -> None:
        ada, bob = Eye(), Eye()
        await hub.attach(ada, "user:ada")
        await hub.attach(bob, "user:bob")

        hub.receive(journal.commit("user:ada", 3))

        ada.assert_exact(3)
        assert bob.seen == []

    async def test_what_a_dead_bus_never_brings_comes_from_the_journal(
        self, journal: HeldJournal, bus: QuietBus, tally: EventCounters, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hub_module, "RECONCILE_SECONDS_WITHOUT_BUS", 0.01)
        bus.healthy = False
        hub, eye = Hub(journal, bus, tally), Eye()
        await hub.start()
        await hub.attach(eye, USER)

        journal.commit(USER, PAGE + 2)
        await eye.reach(PAGE + 2)
        await hub.close()

        eye.assert_exact(PAGE + 2)

    async def test_a_bus_that_dies_is_not_waited_for_until_the_next_look_that_was_due_with_it_alive(
        self, journal: HeldJournal, bus: QuietBus, tally: EventCounters, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hub_module, "RECONCILE_SECONDS", 3600.0)
        monkeypatch.setattr(hub_module, "RECONCILE_SECONDS_WITHOUT_BUS", 0.01)
        hub, eye = Hub(journal, bus, tally), Eye()
        await hub.start()
        await hub.attach(eye, USER)
        await turns()

        journal.commit(USER)
        bus.healthy = False
        await eye.reach(1)
        await hub.close()

        eye.assert_exact(1)


class TestSlowWatchers:
    async def test_one_that_is_full_holds_up_nobody_and_is_brought_up_when_it_has_room(
        self, hub: Hub, journal: HeldJournal
    ) -> None:
        slow, quick = Eye(), Eye()
        await hub.attach(slow, USER)
        await hub.attach(quick, USER)

        slow.blocked = True
        for _ in range(PAGE):
            hub.receive(journal.commit(USER, 3))
        quick.assert_exact(PAGE * 3)
        slow.blocked = False
        await slow.reach(PAGE * 3)

        slow.assert_exact(PAGE * 3)

    async def test_one_that_stays_full_is_told_to_come_back(
        self, hub: Hub, journal: HeldJournal, tally: EventCounters, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hub_module, "SLOW_SECONDS", 0.02)
        slow = Eye()
        await hub.attach(slow, USER)

        slow.blocked = True
        hub.receive(journal.commit(USER))

        assert await slow.closed() is CloseReason.SLOW
        assert (tally.slow_sockets_closed, hub.watchers) == (1, 0)

    async def test_what_waits_for_one_that_is_slow_is_a_page_and_no_more(self, hub: Hub, journal: HeldJournal) -> None:
        slow = Eye()
        await hub.attach(slow, USER)
        slow.blocked = True

        for _ in range(PAGE * 4):
            hub.receive(journal.commit(USER))
        await turns()

        assert len([read for read in journal.reads if read[1] >= 0]) == 1

    async def test_a_queue_holds_so_many_batches_and_says_so(self) -> None:
        queue = QueueWatcher(0)

        taken = [queue.try_send(batch_of(USER, seq, seq)) for seq in range(1, QUEUE_BATCHES + 2)]

        assert taken == [True] * QUEUE_BATCHES + [False]
        assert queue.position == QUEUE_BATCHES

    async def test_a_queue_notes_where_its_replay_ended(self) -> None:
        queue = QueueWatcher(0)
        queue.try_send(batch_of(USER, 1, 2))
        queue.caught_up()
        queue.try_send(batch_of(USER, 3, 3))
        queue.caught_up()

        await queue.get()

        assert await queue.get() == Live(cursor=2)

    async def test_a_queue_is_read_to_the_end_before_its_close_counts(self) -> None:
        queue = QueueWatcher(0)
        queue.try_send(batch_of(USER, 1, 2))
        queue.close(CloseReason.RESTART)

        read = [await queue.get(), await queue.get()]

        assert isinstance(read[0], Batch)
        assert (read[0].last, read[1], queue.reason) == (2, None, CloseReason.RESTART)


class TestManyWatchers:
    async def test_those_that_begin_at_one_place_share_one_reading(self, hub: Hub, journal: HeldJournal) -> None:
        journal.commit(USER, PAGE * 2)
        eyes = [Eye() for _ in range(50)]

        await asyncio.gather(*(hub.attach(eye, USER) for eye in eyes))
        for eye in eyes:
            await eye.reach(PAGE * 2)

        for eye in eyes:
            eye.assert_exact(PAGE * 2)
        assert len([read for read in journal.reads if read[1] >= 0]) == 2

    async def test_the_last_to_leave_closes_the_feed(self, hub: Hub, bus: QuietBus) -> None:
        first, second = Eye(), Eye()
        await hub.attach(first, USER)
        await hub.attach(second, USER)

        await hub.detach(first, USER)
        assert (bus.watched, hub.watchers) == ({USER}, 1)
        await hub.detach(second, USER)

        assert (bus.watched, hub.watchers) == (set(), 0)

    async def test_one_that_left_is_shown_nothing_more(self, hub: Hub, journal: HeldJournal) -> None:
        gone, here = Eye(), Eye()
        await hub.attach(gone, USER)
        await hub.attach(here, USER)

        await hub.detach(gone, USER)
        hub.receive(journal.commit(USER))

        assert (gone.seen, here.seen) == ([], [1])


class TestComingAndGoing:
    async def test_leaving_in_mid_replay_ends_the_replay(self, hub: Hub, journal: HeldJournal, bus: QuietBus) -> None:
        journal.commit(USER, 3)
        eye = Eye()
        await hub.attach(eye, USER)
        journal.open.clear()

        await hub.detach(eye, USER)
        journal.open.set()
        await turns()

        assert (eye.seen, hub.watchers, bus.watched) == ([], 0, set())

    async def test_giving_up_in_mid_attach_leaves_nothing_watched(
        self, hub: Hub, journal: HeldJournal, bus: QuietBus
    ) -> None:
        journal.open.clear()
        attaching = asyncio.create_task(hub.attach(Eye(), USER))
        await turns()

        attaching.cancel()
        await asyncio.wait([attaching])
        journal.open.set()
        await turns()

        assert (attaching.cancelled(), hub.watchers, bus.watched) == (True, 0, set())

    async def test_one_gives_up_while_another_waits_for_the_same_feed(self, hub: Hub, journal: HeldJournal) -> None:
        journal.open.clear()
        eye = Eye()
        hasty = asyncio.create_task(hub.attach(Eye(), USER))
        patient = asyncio.create_task(hub.attach(eye, USER))
        await turns()

        hasty.cancel()
        journal.open.set()
        await patient
        hub.receive(journal.commit(USER))

        eye.assert_exact(1)

    async def test_a_feed_that_could_not_be_opened_is_opened_by_the_next(
        self, hub: Hub, journal: HeldJournal, bus: QuietBus
    ) -> None:
        journal.commit(USER, 2)
        journal.fault = ConnectionError("the database is away")
        eye = Eye()

        with pytest.raises(ConnectionError):
            await hub.attach(Eye(), USER)
        assert (hub.watchers, bus.watched) == (0, set())
        journal.fault = None
        await hub.attach(eye, USER)
        await eye.reach(2)

        eye.assert_exact(2)

    async def test_a_feed_that_fails_late_does_not_close_the_one_opened_after_it(
        self, hub: Hub, journal: HeldJournal
    ) -> None:
        journal.open.clear()
        journal.fault = ConnectionError("the database is away")
        hasty = asyncio.create_task(hub.attach(Eye(), USER))
        await turns()
        hasty.cancel()
        await asyncio.wait([hasty])
        eye = Eye()
        second = asyncio.create_task(hub.attach(eye, USER))
        await turns(1)

        journal.open.set()
        await turns(1)
        journal.fault = None
        await asyncio.wait([second])
        if second.exception():
            await hub.attach(eye, USER)
        hub.receive(journal.commit(USER))

        eye.assert_exact(1)

    @pytest.mark.parametrize("seed", range(10))
    async def test_a_crowd_that_comes_and_goes_sees_everything_and_leaves_nothing(
        self, hub: Hub, journal: HeldJournal, bus: QuietBus, seed: int
    ) -> None:
        chance = random.Random(seed)

        async def visit(user: str) -> None:
            eye = Eye(chance.randint(0, journal.numbers.get(user, 0)))
            attaching = asyncio.create_task(hub.attach(eye, user))
            await turns(chance.randint(0, 5))
            if chance.random() < 0.3:
                attaching.cancel()
            await asyncio.wait([attaching])
            await turns(chance.randint(0, 10))
            await hub.detach(eye, user)
            assert eye.seen == list(range(eye.began_at + 1, eye.position + 1))

        visits = []
        for _ in range(60):
            user = chance.choice(["user:ada", "user:bob", "user:eve"])
            hub.receive(journal.commit(user))
            visits.append(asyncio.create_task(visit(user)))
            await turns(chance.randint(0, 3))
        await asyncio.gather(*visits)
        await turns()

        assert (hub.watchers, bus.watched) == (0, set())


class TestCursors:
    async def test_one_ahead_of_everything_is_refused(self, hub: Hub, journal: HeldJournal, bus: QuietBus) -> None:
        journal.commit(USER, 3)

        with pytest.raises(UnknownCursor, match="cursor 4 is ahead of the last event, 3"):
            await hub.attach(Eye(4), USER)

        assert bus.watched == set()

    async def test_one_ahead_of_the_bus_but_not_of_the_journal_is_good(self, hub: Hub, journal: HeldJournal) -> None:
        await hub.attach(Eye(), USER)
        journal.commit(USER, 2)
        eye = Eye(2)

        await hub.attach(eye, USER)
        hub.receive(journal.commit(USER))

        eye.assert_exact(3)

    async def test_one_is_never_called_unknown_because_the_journal_can_not_be_read(
        self, hub: Hub, journal: HeldJournal
    ) -> None:
        await hub.attach(Eye(), USER)
        journal.commit(USER, 2)
        journal.fault = ConnectionError("the database is away")

        with pytest.raises(ConnectionError):
            await hub.attach(Eye(2), USER)


class TestFaults:
    @pytest.mark.parametrize("fault", [ConnectionError("away"), RuntimeError("a fault nobody thought of")])
    async def test_the_hub_outlives_a_journal_that_fails(
        self, hub: Hub, journal: HeldJournal, fault: Exception
    ) -> None:
        eye = Eye()
        await hub.attach(eye, USER)
        journal.fault = fault
        journal.commit(USER)
        hub.receive(journal.commit(USER))
        await turns()

        journal.fault = None
        hub.receive(journal.commit(USER))
        await eye.reach(3)

        eye.assert_exact(3)

    @pytest.mark.parametrize("fault", [ConnectionError("away"), RuntimeError("a fault nobody thought of")])
    async def test_a_replay_goes_on_when_the_journal_is_back(
        self, hub: Hub, journal: HeldJournal, fault: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hub_module, "RECONCILE_SECONDS_WITHOUT_BUS", 0.001)
        journal.commit(USER, 5)
        await hub.attach(Eye(5), USER)
        journal.fault = fault
        eye = Eye()

        await hub.attach(eye, USER)
        await turns()
        journal.fault = None
        await eye.reach(5)

        eye.assert_exact(5)


class TestDismissal:
    async def test_everybody_is_brought_up_first_and_then_told_to_come_back(
        self, hub: Hub, journal: HeldJournal
    ) -> None:
        live, late = Eye(), Eye()
        await hub.attach(live, USER)
        journal.commit(USER, 3)
        await hub.attach(late, USER)

        await hub.close_watchers(DEADLINE_SECONDS)

        for eye in (live, late):
            eye.assert_exact(3)
            assert eye.reason is CloseReason.RESTART

    async def test_one_that_leaves_meanwhile_does_not_keep_the_others_from_their_goodbye(
        self, hub: Hub, journal: HeldJournal
    ) -> None:
        journal.commit(USER, 3)
        there, leaving = Eye(3), Eye()
        leaving.blocked = True
        await hub.attach(there, USER)
        await hub.attach(leaving, USER)

        dismissing = asyncio.create_task(hub.close_watchers(DEADLINE_SECONDS))
        await turns()
        await hub.detach(leaving, USER)
        await dismissing

        assert there.reason is CloseReason.RESTART

    async def test_one_that_is_stuck_holds_it_up_until_the_deadline_and_no_longer(
        self, hub: Hub, journal: HeldJournal
    ) -> None:
        journal.commit(USER, 3)
        stuck = Eye()
        stuck.blocked = True
        await hub.attach(stuck, USER)

        await hub.close_watchers(0.02)

        assert stuck.reason is CloseReason.RESTART
