"""Consumers of the journal, in one process on SQLite."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio
from sqlalchemy import text

from commitstream.consumers.consumer import Consumer
from commitstream.consumers.positions import Positions
from commitstream.envelope import Envelope
from commitstream.tests.unit.events.consumption import Keeper, Ledger, consuming, eventually, ledger

ALWAYS_LATER = 60.0


@pytest_asyncio.fixture
async def ours(database_url: str) -> AsyncIterator[Ledger]:
    async with ledger(database_url) as ours:
        yield ours


class Poison:
    """Fails on one event of one user, for a number of times."""

    def __init__(self, seq: int, times: int = 1_000_000) -> None:
        self.seq = seq
        self.times = times

    async def __call__(self, stream: str, numbers: Sequence[int]) -> None:
        if self.seq in numbers and self.times > 0:
            self.times -= 1
            raise ValueError(f"event {self.seq} is poison")


async def test_a_new_consumer_begins_with_the_first_event_of_every_user(ours: Ledger) -> None:
    await ours.write("user:ada", 3)
    await ours.write("user:bob", 2)
    keeper = Keeper()

    async with consuming(ours, keeper):
        await keeper.until_kept("user:ada", 3)
        await keeper.until_kept("user:bob", 2)

    assert keeper.kept == {"user:ada": [1, 2, 3], "user:bob": [1, 2]}
    assert await ours.places() == {("audit", "user:ada"): 3, ("audit", "user:bob"): 2}


async def test_a_commit_of_this_process_wakes_a_consumer_at_once(ours: Ledger) -> None:
    keeper = Keeper()

    async with consuming(ours, keeper, poll_interval=ALWAYS_LATER):
        for n in range(1, 4):
            await ours.write("user:ada")
            await keeper.until_kept("user:ada", n)

    assert keeper.kept == {"user:ada": [1, 2, 3]}


async def test_what_is_written_while_a_users_events_are_handled_follows_without_a_look_round(ours: Ledger) -> None:
    gate = asyncio.Event()

    async def wait(stream: str, numbers: Sequence[int]) -> None:
        await gate.wait()

    keeper = Keeper(before=wait)
    async with consuming(ours, keeper, poll_interval=ALWAYS_LATER):
        await ours.write("user:ada")
        await keeper.until(lambda: bool(keeper.batches), "the first event")
        await ours.write("user:ada", 2)
        gate.set()
        await keeper.until_kept("user:ada", 3)

    assert keeper.kept == {"user:ada": [1, 2, 3]}


async def test_what_others_write_while_a_users_events_are_handled_follows_without_a_look_round(
    ours: Ledger, database_url: str
) -> None:
    gate = asyncio.Event()

    async def wait(stream: str, numbers: Sequence[int]) -> None:
        await gate.wait()

    keeper = Keeper(before=wait)
    async with ledger(database_url) as other_process, consuming(ours, keeper, poll_interval=ALWAYS_LATER):
        await ours.write("user:ada")
        await keeper.until(lambda: bool(keeper.batches), "the first event")
        await other_process.write("user:ada", 2)
        gate.set()
        await keeper.until_kept("user:ada", 3)

    assert keeper.kept == {"user:ada": [1, 2, 3]}


async def test_what_others_write_is_found_by_looking(ours: Ledger, database_url: str) -> None:
    keeper = Keeper()

    async with ledger(database_url) as other_process, consuming(ours, keeper):
        await other_process.write("user:ada", 2)
        await keeper.until_kept("user:ada", 2)

    assert keeper.kept == {"user:ada": [1, 2]}


async def test_a_consumer_that_comes_back_goes_on_where_it_left_off(ours: Ledger) -> None:
    first, second = Keeper(), Keeper()
    await ours.write("user:ada", 2)
    async with consuming(ours, first):
        await first.until_kept("user:ada", 2)

    await ours.write("user:ada", 2)
    async with consuming(ours, second):
        await second.until_kept("user:ada", 2)

    assert (first.kept, second.kept) == ({"user:ada": [1, 2]}, {"user:ada": [3, 4]})


async def test_two_consumers_each_get_everything(ours: Ledger) -> None:
    audit, billing = Keeper(), Keeper()
    await ours.write("user:ada", 3)

    async with consuming(ours, audit, name="audit"), consuming(ours, billing, name="billing"):
        await audit.until_kept("user:ada", 3)
        await billing.until_kept("user:ada", 3)

    assert audit.kept == billing.kept == {"user:ada": [1, 2, 3]}


async def test_events_come_in_batches_of_one_user_no_larger_than_asked(ours: Ledger) -> None:
    await ours.write("user:ada", 7)
    await ours.write("user:bob", 2)
    keeper = Keeper()

    async with consuming(ours, keeper, batch=3):
        await keeper.until_kept("user:ada", 7)
        await keeper.until_kept("user:bob", 2)

    assert [numbers for user, numbers in keeper.batches if user == "user:ada"] == [[1, 2, 3], [4, 5, 6], [7]]
    assert [numbers for user, numbers in keeper.batches if user == "user:bob"] == [[1, 2]]


async def test_no_more_handlers_run_at_once_than_asked_and_all_users_get_their_turn(ours: Ledger) -> None:
    running, most = 0, 0

    async def count(stream: str, numbers: Sequence[int]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    keeper = Keeper(before=count)
    streams = [f"user:{n:02}" for n in range(20)]
    for stream in streams:
        await ours.write(stream)

    async with consuming(ours, keeper, concurrency=3):
        await keeper.until(lambda: len(keeper.kept) == len(streams), "the events of all users")

    assert most == 3


async def test_an_event_that_fails_is_tried_again_and_only_it(ours: Ledger) -> None:
    keeper = Keeper(before=Poison(seq=2, times=2))
    await ours.write("user:ada", 3)

    async with consuming(ours, keeper) as subscriber:
        await keeper.until(lambda: keeper.kept.get("user:ada", [])[-1:] == [3], "the event after the poison")

    assert keeper.kept == {"user:ada": [1, 2, 3]}
    assert keeper.batches == [("user:ada", numbers) for numbers in ([1, 2, 3], [1], [2], [2], [3])]
    assert (subscriber.counters.handled, subscriber.counters.failed, subscriber.counters.dead_lettered) == (3, 2, 0)


async def test_an_event_that_always_fails_is_put_aside_with_the_reason_and_the_rest_goes_on(ours: Ledger) -> None:
    keeper = Keeper(before=Poison(seq=2))
    await ours.write("user:ada", 4)

    async with consuming(ours, keeper, attempts=3) as subscriber:
        await keeper.until(lambda: 4 in keeper.kept.get("user:ada", []), "the events after the poison")
        (letter,) = await subscriber.dead_letters()

    assert keeper.kept == {"user:ada": [1, 3, 4]}
    assert [numbers for _, numbers in keeper.batches].count([2]) == 3
    assert (letter.consumer, letter.stream, letter.seq, letter.attempts) == ("audit", "user:ada", 2, 3)
    assert letter.reason == "ValueError: event 2 is poison"
    assert Envelope.model_validate_json(letter.event).payload == {"n": 1}


async def test_a_failure_of_one_user_holds_up_no_other(ours: Ledger) -> None:
    async def fail_for_ada(stream: str, numbers: Sequence[int]) -> None:
        if stream == "user:ada":
            raise ConnectionError("away")

    keeper = Keeper(before=fail_for_ada)
    await ours.write("user:ada")
    await ours.write("user:bob")

    async with consuming(ours, keeper, concurrency=1, backoff=ALWAYS_LATER):
        await keeper.until_kept("user:bob", 1)
        await ours.write("user:bob")
        await keeper.until_kept("user:bob", 2)

    assert [user for user, _ in keeper.batches].count("user:ada") == 1


async def test_a_handler_that_takes_too_long_has_failed(ours: Ledger) -> None:
    async def stall(stream: str, numbers: Sequence[int]) -> None:
        await asyncio.Event().wait()

    keeper = Keeper(before=stall)
    await ours.write("user:ada")

    async with consuming(ours, keeper, attempts=1, handler_timeout=0.05) as subscriber:

        async def dead_lettered() -> bool:
            return bool(await subscriber.dead_letters())

        await eventually(dead_lettered, "a dead letter")
        (letter,) = await subscriber.dead_letters()

    assert letter.reason == "not done within 0.05 s"


async def test_events_of_a_batch_that_took_too_long_get_their_full_time_one_by_one(ours: Ledger) -> None:
    async def stall_on_batches(stream: str, numbers: Sequence[int]) -> None:
        await (asyncio.Event().wait() if len(numbers) > 1 else asyncio.sleep(0.001))

    keeper = Keeper(before=stall_on_batches)
    await ours.write("user:ada", 3)

    async with consuming(ours, keeper, attempts=1, handler_timeout=0.15) as subscriber:
        await keeper.until_kept("user:ada", 3)

    assert keeper.kept == {"user:ada": [1, 2, 3]}
    assert (subscriber.counters.failed, subscriber.counters.dead_lettered) == (1, 0)


@pytest.mark.parametrize("nasty", ["null \x00 byte", "lone \ud83d surrogate", "x" * 100_000])
async def test_a_reason_that_no_database_could_hold_is_kept_as_well_as_it_can_be(ours: Ledger, nasty: str) -> None:
    async def fail(stream: str, numbers: Sequence[int]) -> None:
        raise RuntimeError(nasty)

    await ours.write("user:ada")
    async with consuming(ours, Keeper(before=fail), attempts=1) as subscriber:

        async def dead_lettered() -> bool:
            return bool(await subscriber.dead_letters())

        await eventually(dead_lettered, "a dead letter")
        (letter,) = await subscriber.dead_letters()

    assert letter.reason.startswith("RuntimeError: ")
    assert len(letter.reason) <= 2000


async def test_a_handler_whose_own_task_is_cancelled_has_failed_and_the_consumer_lives(ours: Ledger) -> None:
    async def give_up(stream: str, numbers: Sequence[int]) -> None:
        if numbers == [1]:
            raise asyncio.CancelledError

    keeper = Keeper(before=give_up)
    await ours.write("user:ada")

    async with consuming(ours, keeper, attempts=2) as subscriber:

        async def dead_lettered() -> bool:
            return bool(await subscriber.dead_letters())

        await eventually(dead_lettered, "a dead letter")
        await ours.write("user:ada")
        await keeper.until_kept("user:ada", 1)

    assert keeper.kept == {"user:ada": [2]}


async def test_a_dead_letter_is_replayed_and_then_gone(ours: Ledger) -> None:
    poison = Poison(seq=1)
    keeper = Keeper(before=poison)
    await ours.write("user:ada", 2)
    async with consuming(ours, keeper, attempts=1) as subscriber:
        await keeper.until_kept("user:ada", 1)
        (letter,) = await subscriber.dead_letters()

        poison.times = 0
        replayed = await subscriber.replay(letter)

        assert replayed
        assert keeper.kept == {"user:ada": [2, 1]}
        assert not await subscriber.dead_letters()


async def test_a_dead_letter_that_fails_again_stays_and_says_why(ours: Ledger) -> None:
    keeper = Keeper(before=Poison(seq=1))
    await ours.write("user:ada", 2)
    async with consuming(ours, keeper, attempts=1) as subscriber:
        await keeper.until_kept("user:ada", 1)
        (letter,) = await subscriber.dead_letters()

        replayed = await subscriber.replay(letter)

        (again,) = await subscriber.dead_letters()
        assert not replayed
        assert (again.seq, again.attempts, again.reason) == (1, 2, "ValueError: event 1 is poison")


async def test_a_place_is_noted_also_when_its_consumer_ends_the_moment_events_were_handled(ours: Ledger) -> None:
    keeper = Keeper()
    await ours.write("user:ada", 2)
    subscriber = Consumer(ours.database, ours.journal, name="audit", handler=keeper.handle)
    await subscriber.start()
    await keeper.until_kept("user:ada", 2)

    await subscriber.close(timeout=0.0)

    assert await ours.places() == {("audit", "user:ada"): 2}
    assert await Positions(ours.database, "audit").due(10) == []


async def test_closing_waits_for_handlers_at_work(ours: Ledger) -> None:
    gate = asyncio.Event()

    async def wait(stream: str, numbers: Sequence[int]) -> None:
        await gate.wait()

    keeper = Keeper(before=wait)
    await ours.write("user:ada")
    subscriber = Consumer(ours.database, ours.journal, name="audit", handler=keeper.handle)
    await subscriber.start()
    await keeper.until(lambda: bool(keeper.batches), "the event")

    closing = asyncio.create_task(subscriber.close())
    await asyncio.sleep(0)
    gate.set()
    await closing

    assert await ours.places() == {("audit", "user:ada"): 1}


async def test_a_handler_cut_off_at_the_end_costs_no_attempt_and_no_wait(ours: Ledger) -> None:
    async def stall(stream: str, numbers: Sequence[int]) -> None:
        await asyncio.Event().wait()

    cut_off, second = Keeper(before=stall), Keeper()
    await ours.write("user:ada", 2)
    async with consuming(ours, cut_off):
        await cut_off.until(lambda: bool(cut_off.batches), "the events")

    async with consuming(ours, second):
        await second.until_kept("user:ada", 2)

    assert second.batches == [("user:ada", [1, 2])]


async def test_a_place_that_is_taken_is_nobody_elses_until_its_time_is_up(ours: Ledger) -> None:
    await ours.write("user:ada")
    here, there = Positions(ours.database, "audit"), Positions(ours.database, "audit")

    (claim,) = await here.claim(["user:ada"], lease=0.1)

    assert await there.due(10) == []
    assert await there.claim(["user:ada"], lease=1) == []

    async def free() -> bool:
        return bool(await there.due(10))

    await eventually(free, "the end of the lease")
    (again,) = await there.claim(["user:ada"], lease=1)
    assert (again.attempts, again.seq) == (2, 0)
    assert not await here.move(claim, 1, attempts=0, lease=0)
    assert await ours.places() == {("audit", "user:ada"): 0}


async def test_an_event_whose_handlers_always_died_is_put_aside_untouched(ours: Ledger) -> None:
    await ours.write("user:ada", 2)
    positions = Positions(ours.database, "audit")
    for _ in range(3):
        await positions.claim(["user:ada"], lease=0)
    keeper = Keeper()

    async with consuming(ours, keeper, attempts=3) as subscriber:
        await keeper.until_kept("user:ada", 1)
        (letter,) = await subscriber.dead_letters()

    assert keeper.kept == {"user:ada": [2]}
    assert "died" in letter.reason


async def test_a_database_that_is_away_for_a_moment_ends_nothing(
    ours: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = Keeper()
    async with ours.database.transaction() as session:
        await session.execute(text("ALTER TABLE commitstream_consumer_positions RENAME TO elsewhere"))

    async with consuming(ours, keeper):
        await ours.write("user:ada", 2)

        async def noticed() -> bool:
            return "consumer audit failed, retrying" in caplog.text

        await eventually(noticed, "a warning")
        async with ours.database.transaction() as session:
            await session.execute(text("ALTER TABLE elsewhere RENAME TO commitstream_consumer_positions"))
        await keeper.until_kept("user:ada", 2)

    assert keeper.kept == {"user:ada": [1, 2]}


async def test_a_consumer_needs_a_name_that_fits(ours: Ledger) -> None:
    with pytest.raises(ValueError, match="1 to 64 characters"):
        Consumer(ours.database, ours.journal, name="x" * 65, handler=Keeper().handle)


async def test_a_round_over_ten_thousand_users_is_quick(ours: Ledger) -> None:
    async with ours.database.transaction() as session:
        await session.execute(
            text(
                """
                WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
                INSERT INTO commitstream_events (stream, seq, type, body, at)
                SELECT printf('user:%05d', i), 1, 'counted', '{}', '2026-01-01 00:00:00.000000' FROM n
                """
            )
        )
        await session.execute(
            text(
                """
                INSERT INTO commitstream_consumer_positions (consumer, stream, seq, attempts, owner, free_at)
                SELECT 'audit', stream, seq, 0, '', '2026-01-01 00:00:00.000000' FROM commitstream_events
                WHERE stream <> 'user:09999'
                """
            )
        )
    positions = Positions(ours.database, "audit")

    started = time.process_time()
    found = await positions.due(8)

    assert found == ["user:09999"]
    assert time.process_time() - started < 0.5
