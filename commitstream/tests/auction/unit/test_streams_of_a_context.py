"""A context that watches several streams of the auction: each has its own cursor, numbers, order and end."""

from __future__ import annotations

import pytest

from commitstream.tests.auction.application import BidPlaced, LotClosed, LotOpened, Outbid
from commitstream.tests.auction.client import Watcher, amounts, client_of, dropping, isolated_users, watching
from commitstream.transports.protocol import CloseCode
from test_framework.servers import Server
from test_framework.users import TestUserContext
from test_framework.websocket.line import SocketClosed

SOON = 0.05


async def test_waits_name_the_stream_that_they_wait_for(shared_auction: Server) -> None:
    async with client_of(shared_auction, "ada") as ada, client_of(shared_auction, "bob") as bob:
        lot = await ada.open_lot()
        own = ada.known.stream
        async with watching(shared_auction, lot, ada.known) as watcher:
            assert await ada.bid(lot, 1)
            assert await bob.bid(lot, 2)

            await watcher.wait_for_seq(1, stream=own)
            (outbid,) = await watcher.wait_for_events([Outbid.event_type], stream=own)
            assert await watcher.receive(stream=own) == outbid
            assert (await watcher.receive()).type == LotOpened.event_type

            with pytest.raises(AssertionError) as late:
                await watcher.wait_for_seq(2, SOON, stream=own)
            await watcher.wait_for_seq(3)

    assert str(late.value).startswith(
        f"event 2 of {own} did not come within 0.05 s; what came of lot:{lot}: ['1 lot_op"
    )
    assert f"; what came of {own}: ['1 outbid']" in str(late.value)


async def test_stream_without_subjects_is_waited_for_to_its_end(shared_auction: Server) -> None:
    async with client_of(shared_auction) as ada:
        lot = await ada.open_lot()
        async with watching(shared_auction, lot, ada.known) as watcher:
            assert await ada.bid(lot, 1)
            await watcher.wait_for_seq(2)
            with pytest.raises(AssertionError, match=f"the last event of lot:{lot} did not come"):
                await watcher.wait_for_end(deadline=SOON)

            assert await ada.close_lot(lot)
            await watcher.wait_for_end()

            assert watcher.capture.events[-1].type == LotClosed.event_type


async def test_stream_that_is_not_watched_is_refused_by_name(shared_auction: Server) -> None:
    async with Watcher(shared_auction) as watcher:
        with pytest.raises(ValueError, match=rf"watches {watcher.user.stream}, and not lot:9: name it in .*watch="):
            await watcher.wait_for_seq(1, stream="lot:9")
        with pytest.raises(ValueError, match="lot:9 is not watched: expect types of streams"):
            watcher.validate({"lot:9": []})


async def test_end_of_a_subscription_ends_the_wait_for_its_stream(shared_auction: Server) -> None:
    async with client_of(shared_auction, "ada") as ada, client_of(shared_auction, "eve") as eve:
        lot = await ada.open_lot(guests=[eve.id])
        stream = f"lot:{lot}"
        async with watching(shared_auction, lot, eve.known) as removed:
            await removed.wait_for_seq(1)
            await ada.remove_guest(lot, eve.id)

            with pytest.raises(SocketClosed, match=rf"(?s){stream} was ended with 4403 .*wait_for_ended\('{stream}'\)"):
                await removed.wait_for_seq(99)

            assert (await removed.wait_for_ended(stream)).code == CloseCode.FORBIDDEN
            removed.capture.assert_nothing_foreign()
            await removed.ping()


async def test_refused_stream_ends_the_wait_for_it_and_no_other(shared_auction: Server) -> None:
    async with client_of(shared_auction, "ada") as ada, client_of(shared_auction, "eve") as eve:
        lots = [await ada.open_lot(), await ada.open_lot(guests=[])]
        public, private = (f"lot:{lot}" for lot in lots)
        async with Watcher(shared_auction, eve.known, watch=[public, private]) as stranger:
            await stranger.wait_for_seq(1)

            with pytest.raises(SocketClosed, match="you may not watch"):
                await stranger.wait_for_seq(1, stream=private)


async def test_unsubscribed_stream_is_ended_and_can_be_watched_again(shared_auction: Server) -> None:
    async with client_of(shared_auction) as ada:
        lot = await ada.open_lot()
        stream = f"lot:{lot}"
        async with watching(shared_auction, lot, ada.known) as watcher:
            await watcher.wait_for_seq(1)
            await watcher.send({"type": "unsubscribe", "stream": stream})
            assert (await watcher.wait_for_ended(stream)).code == 1000

            await watcher.send({"type": "subscribe", "stream": stream, "after": 1})
            await watcher.send({"type": "subscribe", "stream": stream, "after": 1})  # refused; the first one stays
            assert await ada.bid(lot, 1)
            await watcher.wait_for_seq(2)

            watcher.capture.assert_unbroken()
            watcher.capture.assert_nothing_foreign()


async def test_each_stream_begins_at_a_cursor_of_its_own(shared_auction: Server) -> None:
    async with client_of(shared_auction) as ada:
        first, second = [await ada.open_lot() for _ in range(2)]
        for lot in (first, second):
            assert await ada.bid(lot, 1)
            assert await ada.bid(lot, 2)
        async with Watcher(shared_auction, watch={f"lot:{first}": 2, f"lot:{second}": None}) as late:
            assert await ada.bid(second, 3)
            await late.wait_for_seq(4, stream=f"lot:{second}")
            await late.wait_for_seq(3)

            assert [capture.after for capture in late.captures.values()] == [2, 3]
            assert [amounts(capture) for capture in late.captures.values()] == [[2], [3]]
            verdict = late.validate()
            assert verdict.valid, verdict


async def test_verdict_covers_every_stream_and_names_it(shared_auction: Server) -> None:
    async with client_of(shared_auction, "ada") as ada, client_of(shared_auction, "bob") as bob:
        lot = await ada.open_lot()
        own = ada.known.stream
        async with watching(shared_auction, lot, ada.known) as watcher:
            assert await ada.bid(lot, 1)
            assert await bob.bid(lot, 2)
            await watcher.wait_for_seq(3)
            await watcher.wait_for_seq(1, stream=own)

            expected = {f"lot:{lot}": [LotOpened.event_type, *[BidPlaced.event_type] * 2], own: [Outbid.event_type]}
            verdict = watcher.validate(expected)
            assert verdict.valid, verdict
            assert (sum(verdict.counts.values()), watcher.performance().events) == (4, 4)
            assert watcher.validate({own: []}).extra == (f"1 × outbid ({own})",)

            watcher.captures[own].events.clear()
            watcher.captures[own].after = 0
            assert watcher.validate(expected).missing == (f"1 × outbid ({own})",)


async def test_crowd_watches_a_shared_stream_and_each_their_own(shared_auction: Server) -> None:
    async with client_of(shared_auction) as ada:
        lot = await ada.open_lot()

        def streams(user: TestUserContext) -> list[str]:
            return [f"lot:{lot}", user.stream]

        async with isolated_users(shared_auction, 5, watch=streams) as crowd:
            assert await ada.bid(lot, 1)
            for watcher in crowd:
                await watcher.wait_for_seq(2)
                watcher.capture.assert_same_as(crowd[0].capture)
                assert list(watcher.captures) == [f"lot:{lot}", watcher.user.stream]


async def test_drop_counts_the_events_of_all_streams(shared_auction: Server) -> None:
    async with client_of(shared_auction) as ada:
        lots = [await ada.open_lot() for _ in range(3)]
        watch = [f"lot:{lot}" for lot in lots]
        async with dropping(shared_auction, after=2, watch=watch) as dropped:
            await dropped.wait_for_close()
            assert dropped.performance().events == 2

            await dropped.connect()
            for stream in watch:
                await dropped.wait_for_seq(1, stream=stream)

            assert dropped.performance().events == 3
            assert dropped.validate().valid
