"""The auction as two processes on one Postgres and one Redis, and what it loses while Redis breaks: nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from commitstream.tests.auction.application import AuctionSettings
from commitstream.tests.auction.client import AuctionClient, Watcher, amounts, client_of, watching
from commitstream.tests.auction.conftest import ServeProcess
from commitstream.transports.protocol import CloseCode
from test_framework.faults.breakable import Breakable
from test_framework.servers import ProcessServer

BROKEN_SECONDS = 2.0
CALM_BIDS = 5

Pair = tuple[ProcessServer, ProcessServer]


@pytest_asyncio.fixture
async def pair(auction: AuctionSettings, serve_process: ServeProcess) -> AsyncIterator[Pair]:
    async with serve_process(auction) as one, serve_process(auction) as other:
        yield one, other


async def test_bid_at_one_process_is_seen_at_the_other(pair: Pair) -> None:
    one, other = pair
    async with client_of(one, "ada") as ada, client_of(one, "bob") as bob:
        lot = await ada.open_lot()
        async with watching(other, lot, ada.known) as watcher:
            assert await ada.bid(lot, 1)
            assert await bob.bid(lot, 2)

            await watcher.wait_for_seq(3)
            own = watcher.captures[ada.known.stream]
            await watcher.wait_for_seq(1, stream=own.stream)
            watcher.capture.assert_unbroken()
            assert (amounts(watcher.capture), amounts(own)) == ([1, 2], [2])


async def test_guest_removed_at_one_process_ends_at_the_other(pair: Pair) -> None:
    one, other = pair
    async with client_of(one, "ada") as ada, client_of(one, "eve") as eve:
        lot = await ada.open_lot(guests=[eve.id])
        async with Watcher(other, eve.known, watch=[f"lot:{lot}"]) as removed:
            assert await eve.bid(lot, 1)
            await removed.wait_for_seq(2)

            await ada.remove_guest(lot, eve.id)
            assert await ada.bid(lot, 2)

            assert (await removed.wait_for_close()).code == CloseCode.FORBIDDEN
            assert amounts(removed.capture) == [1]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("fault", ["killed", "paused", "restarted"])
async def test_no_bid_is_lost_while_redis_is(redis: Breakable, pair: Pair, fault: str) -> None:
    one, other = pair
    async with AsyncExitStack() as stack:
        bidders = [await stack.enter_async_context(client_of(at, name)) for at, name in ((one, "ada"), (other, "bob"))]
        lot = await bidders[0].open_lot()
        watchers = [
            await stack.enter_async_context(watching(at, lot, bidder.known)) for at in pair for bidder in bidders
        ]
        broken, over = asyncio.Event(), asyncio.Event()
        bidding = asyncio.create_task(bid_in_turn(bidders, lot, broken, over), name="bids")
        async with getattr(redis, fault)():
            broken.set()
            await asyncio.sleep(BROKEN_SECONDS)
        over.set()
        taken, meanwhile = await bidding

        assert meanwhile, f"no bid was placed while Redis was {fault}"

        for watcher in watchers:
            own = watcher.captures[watcher.user.stream]
            due = [amount for amount in taken[1:] if bidders[(amount - 1) % 2].id != watcher.user.id]
            await watcher.wait_for_seq(len(taken) + 1)
            await watcher.wait_for_seq(len(due), stream=own.stream)
            verdict = watcher.validate()
            assert verdict.valid, verdict
            assert amounts(watcher.capture) == taken
            assert amounts(own) == due


async def bid_in_turn(
    bidders: list[AuctionClient], lot: str, broken: asyncio.Event, over: asyncio.Event
) -> tuple[list[int], int]:
    """Outbid each other before, while and after Redis is broken; return the amounts, and how many came while it was."""
    taken: list[int] = []
    meanwhile = afterwards = 0
    while afterwards < CALM_BIDS:
        while_broken = broken.is_set()
        amount = len(taken) + 1
        assert await bidders[(amount - 1) % 2].bid(lot, amount)
        taken.append(amount)
        meanwhile += while_broken and not over.is_set()
        afterwards += over.is_set()
    return taken, meanwhile
