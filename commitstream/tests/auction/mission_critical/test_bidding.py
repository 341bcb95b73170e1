"""Bids: a race of sixteen, a rollback, a drain, and what is kept of a bidder but shown to no watcher."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import AsyncExitStack
from itertools import pairwise

import pytest
from sqlalchemy.exc import IntegrityError

from commitstream import Engine, user_stream
from commitstream.tests.auction.application import (
    LOTS,
    Auction,
    AuctionSettings,
    BidPlaced,
    LotClosed,
    LotOpened,
    Outbid,
    create_app,
)
from commitstream.tests.auction.client import AuctionClient, amounts, client_of, watching
from commitstream.tests.auction.tables import Bid
from commitstream.watchers import CloseReason
from test_framework.servers import Server, in_loop
from test_framework.test_context import TestContext
from test_framework.websocket.event_path import EventPath, event_path

BIDDERS = 16
BIDS_EACH = 2


async def outbid_others(client: AuctionClient, watcher: TestContext, lot: str) -> list[int]:
    """Offer more than the last bid seen, until some bids were taken; return their amounts."""
    taken: list[int] = []
    while len(taken) < BIDS_EACH:
        amount = max(amounts(watcher.capture), default=0) + 1
        if await client.bid(lot, amount):
            taken.append(amount)
    return taken


async def test_sixteen_bidders_race_and_no_bid_is_lost(shared_auction: Server) -> None:
    async with AsyncExitStack() as stack:
        bidders = [await stack.enter_async_context(client_of(shared_auction, f"user{n}")) for n in range(BIDDERS)]
        lot = await bidders[0].open_lot()
        watchers = [await stack.enter_async_context(watching(shared_auction, lot, one.known)) for one in bidders]

        pairs = list(zip(bidders, watchers, strict=True))
        taken = await asyncio.gather(*(outbid_others(bidder, watcher, lot) for bidder, watcher in pairs))

        leaders = {amount: bidder.id for bidder, won in zip(bidders, taken, strict=True) for amount in won}
        assert len(leaders) == BIDDERS * BIDS_EACH, "an amount was taken twice"
        outbid = defaultdict[str, list[int]](list)
        for before, after in pairwise(sorted(leaders)):
            if leaders[before] != leaders[after]:
                outbid[leaders[before]].append(after)
        for bidder, watcher in pairs:
            own = watcher.captures[bidder.known.stream]
            await watcher.wait_for_seq(len(leaders) + 1)
            await watcher.wait_for_seq(len(outbid[bidder.id]), stream=own.stream)
            verdict = watcher.validate()
            assert verdict.valid, verdict
            assert amounts(watcher.capture) == sorted(leaders)
            assert amounts(own) == outbid[bidder.id]


async def test_lot_closed_twice_at_once_closes_once(shared_auction: Server) -> None:
    async with client_of(shared_auction, "ada") as ada:
        lot = await ada.open_lot()
        async with watching(shared_auction, lot) as watcher:
            assert await ada.bid(lot, 1)

            closed = await asyncio.gather(*(ada.close_lot(lot) for _ in range(4)))

            assert sorted(closed) == [False, False, False, True]
            assert not await ada.bid(lot, 2)
            await watcher.wait_for_seq(3)
            await watcher.ping()
            watcher.capture.assert_unbroken()
            types = [event.type for event in watcher.capture.events]
            assert types == [LotOpened.event_type, BidPlaced.event_type, LotClosed.event_type]


async def test_bid_that_rolls_back_shows_no_event(server: Server) -> None:
    engine = Engine(server.settings)
    async with client_of(server, "ada") as ada, client_of(server, "bob") as bob:
        lot = await ada.open_lot()
        async with watching(server, lot, ada.known) as watcher:
            assert await ada.bid(lot, 1)
            async with engine.transaction() as session:
                session.add(Bid(lot_id=lot, amount=2, bidder="another"))
            refused = await bob.request("POST", f"/api/lots/{lot}/bids", json={"amount": 2})
            assert refused.status_code == 500
            assert await ada.bid(lot, 3)

            await watcher.wait_for_seq(3)
            await watcher.ping()
            watcher.capture.assert_unbroken()
            assert amounts(watcher.capture) == [1, 3]
            assert watcher.captures[f"user:{ada.id}"].events == []
    await engine.database.close()


async def test_rollback_of_two_streams_publishes_nothing(database_url: str) -> None:
    async with event_path(database_url, Auction.topics) as path:
        async with path.database.transaction() as session:
            await path.journal.append(session, LOTS.stream("7"), LotOpened(title="a lot", price=0))
        with pytest.raises(IntegrityError):
            await bid_one_amount_twice(path)
        async with path.database.transaction() as session:
            await path.journal.append(session, LOTS.stream("7"), BidPlaced(amount=6))
        await path.settle()

        assert [batch.stream for batch in path.bus.published] == ["lot:7", "lot:7"]
        assert path.bus.frames("lot:7") == await path.written("lot:7")
        assert path.bus.early == []
        assert await path.written("user:ada") == []


async def bid_one_amount_twice(path: EventPath) -> None:
    async with path.database.transaction() as session:
        await path.journal.append(session, LOTS.stream("7"), BidPlaced(amount=5))
        await path.journal.append(session, user_stream("ada"), Outbid(lot_id="7", amount=5))
        async with session.begin_nested():  # from here on the events are rows, which the rollback takes back
            session.add(Bid(lot_id="7", amount=5, bidder="ada"))
        session.add(Bid(lot_id="7", amount=5, bidder="bob"))


async def test_draining_process_refuses_bids(auction: AuctionSettings) -> None:
    async with in_loop(auction, create_app(auction)) as server, client_of(server, "ada") as ada:
        lot = await ada.open_lot()
        async with watching(server, lot) as watcher:
            assert await ada.bid(lot, 1)
            await server.engine.drain()

            refused = await ada.request("POST", f"/api/lots/{lot}/bids", json={"amount": 2})

            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
            assert (await watcher.wait_for_close()).code == CloseReason.RESTART
            assert amounts(watcher.capture) == [1]
            assert await server.engine.journal.head(f"lot:{lot}") == 2


async def test_watchers_see_no_metadata_of_the_bidder(shared_auction: Server) -> None:
    engine = Engine(shared_auction.settings)
    async with client_of(shared_auction, "ada") as ada, client_of(shared_auction, "bob") as bob:
        lot = await ada.open_lot()
        async with watching(shared_auction, lot, ada.known) as watcher:
            assert await ada.bid(lot, 1)
            assert await bob.bid(lot, 2)
            await watcher.wait_for_seq(3)
            own = watcher.captures[ada.known.stream]
            await watcher.wait_for_seq(1, stream=own.stream)

            for event in (*watcher.capture.events, *own.events):
                shown = event.model_dump_json()
                assert event.metadata == {}
                assert bob.id not in shown
                assert bob.known.session_id not in shown
        kept = await engine.journal.metadata(LOTS.stream(lot), 3)
        assert kept["bidder"] == bob.id
        assert str(kept["request_id"]).startswith(bob.known.session_id)
    await engine.database.close()
