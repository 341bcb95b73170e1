"""Many users on one lot: one order for all, both cursors after a cut, and no client that holds up another."""

from __future__ import annotations

from contextlib import AsyncExitStack

from commitstream.tests.auction.application import BidPlaced, LotClosed, LotOpened, Outbid
from commitstream.tests.auction.client import amounts, client_of, dropping, slow_reader, watching
from commitstream.transports.direct_write import WRITE_BUFFER_LIMIT
from test_framework.servers import InLoopServer, Server

LONG_NOTE = "x" * 500_000
LONG_BIDS = 12  # more than the buffers between a server and a client hold, and few enough for a busy machine


async def test_watchers_of_one_lot_see_the_same_order(shared_auction: Server) -> None:
    async with AsyncExitStack() as stack:
        seller, *bidders = [await stack.enter_async_context(client_of(shared_auction, f"user{n}")) for n in range(5)]
        lot = await seller.open_lot(price=10)
        watchers = [await stack.enter_async_context(watching(shared_auction, lot)) for _ in range(20)]

        for amount in range(11, 21):
            assert await bidders[amount % 4].bid(lot, amount)
        assert await seller.close_lot(lot)

        for watcher in watchers:
            await watcher.wait_for_seq(12)
            watcher.capture.assert_unbroken()
            watcher.capture.assert_same_as(watchers[0].capture)
            watcher.capture.assert_nothing_foreign()
        types = [event.type for event in watchers[0].capture.events]
        assert types == [LotOpened.event_type, *[BidPlaced.event_type] * 10, LotClosed.event_type]
        assert amounts(watchers[0].capture) == list(range(11, 21))


async def test_outbid_reaches_only_the_user_who_was_outbid(shared_auction: Server) -> None:
    async with client_of(shared_auction, "ada") as ada, client_of(shared_auction, "bob") as bob:
        lot = await ada.open_lot()
        async with (
            watching(shared_auction, lot, ada.known) as first,
            watching(shared_auction, lot, bob.known) as second,
            watching(shared_auction, lot) as other,
        ):
            assert await ada.bid(lot, 1)
            assert await bob.bid(lot, 2)
            assert await bob.bid(lot, 3)  # raises the user's own bid, so that no user is outbid
            for watcher in (first, second, other):
                await watcher.wait_for_seq(4)
                await watcher.ping()

            own = first.captures[f"user:{ada.id}"].events
            assert [(event.type, event.subject, event.payload) for event in own] == [
                (Outbid.event_type, lot, {"amount": 2})
            ]
            assert second.captures[f"user:{bob.id}"].events == []
            assert other.captures[f"user:{other.user.id}"].events == []


async def test_both_cursors_resume_after_a_cut(shared_auction: Server) -> None:
    async with client_of(shared_auction, "ada") as ada, client_of(shared_auction, "bob") as bob:
        lot = await bob.open_lot()
        async with watching(shared_auction, lot, ada.known) as watcher:
            own = watcher.captures[f"user:{ada.id}"]
            for amount in range(1, 9):
                if amount == 4:
                    await watcher.wait_for_seq(4)
                    await watcher.wait_for_seq(1, stream=own.stream)
                    watcher.drop()
                    await watcher.wait_for_close()
                assert await (ada, bob)[amount % 2 == 0].bid(lot, amount)

            await watcher.connect()
            await watcher.wait_for_seq(9)
            await watcher.wait_for_seq(4, stream=own.stream)

            verdict = watcher.validate()
            assert verdict.valid, verdict
            assert amounts(watcher.capture) == list(range(1, 9))
            assert amounts(own) == [2, 4, 6, 8]


async def test_slow_reader_of_a_lot_holds_up_no_other(shared_auction: Server) -> None:
    async with client_of(shared_auction, "ada") as ada:
        lot = await ada.open_lot()
        async with slow_reader(shared_auction, watch=[f"lot:{lot}"]) as slow, watching(shared_auction, lot) as quick:
            for amount in range(1, LONG_BIDS + 1):
                assert await ada.bid(lot, amount, note=LONG_NOTE)
            await quick.wait_for_seq(LONG_BIDS + 1)
            quick.capture.assert_unbroken()
            assert slow.capture.events == []
            if isinstance(shared_auction, InLoopServer):
                held = [one.transport.get_write_buffer_size() for one in shared_auction.connections]
                assert max(held) > WRITE_BUFFER_LIMIT, "the slow reader was never behind"

            slow.resume_reading()
            await slow.wait_for_seq(LONG_BIDS + 1)

            slow.capture.assert_same_as(quick.capture)


async def test_client_that_drops_takes_nothing_from_others(shared_auction: Server) -> None:
    async with client_of(shared_auction, "ada") as ada:
        lot = await ada.open_lot()
        async with (
            dropping(shared_auction, after=3, watch=[f"lot:{lot}"]) as dropped,
            watching(shared_auction, lot) as staying,
        ):
            for amount in range(1, 11):
                assert await ada.bid(lot, amount)
            await staying.wait_for_seq(11)
            await dropped.wait_for_close()
            assert amounts(dropped.capture) == [1, 2]

            await dropped.connect()
            await dropped.wait_for_seq(11)

            staying.capture.assert_unbroken()
            dropped.capture.assert_same_as(staying.capture)
