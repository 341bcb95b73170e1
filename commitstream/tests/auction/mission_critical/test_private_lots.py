"""Private lots: strangers never watch one, and a guest who is removed sees nothing that comes later."""

from __future__ import annotations

from commitstream.tests.auction.client import Watcher, amounts, client_of, watching
from commitstream.transports.protocol import CloseCode
from test_framework.servers import Server


async def test_private_lot_is_closed_to_strangers(shared_auction: Server) -> None:
    async with client_of(shared_auction, "ada") as ada, client_of(shared_auction, "eve") as eve:
        lot = await ada.open_lot(guests=["bob"])
        async with Watcher(shared_auction, eve.known, watch=[f"lot:{lot}"]) as stranger:
            assert (await stranger.wait_for_close()).code == CloseCode.FORBIDDEN
            assert stranger.capture.events == []

        refused = await eve.request("POST", f"/api/lots/{lot}/bids", json={"amount": 1})
        assert refused.status_code == 403


async def test_removed_guest_ends_with_4403_and_others_stay(shared_auction: Server) -> None:
    async with (
        client_of(shared_auction, "ada") as ada,
        client_of(shared_auction, "bob") as bob,
        client_of(shared_auction, "eve") as eve,
    ):
        lot = await ada.open_lot(guests=[bob.id, eve.id])
        async with (
            Watcher(shared_auction, eve.known, watch=[f"lot:{lot}"]) as removed,
            watching(shared_auction, lot, eve.known) as with_own_stream,
            watching(shared_auction, lot, bob.known) as staying,
        ):
            assert await bob.bid(lot, 1)
            for watcher in (removed, with_own_stream, staying):
                await watcher.wait_for_seq(2)
            await ada.remove_guest(lot, eve.id)
            assert await bob.bid(lot, 2)

            assert (await removed.wait_for_close()).code == CloseCode.FORBIDDEN
            await staying.wait_for_seq(4)
            assert (await with_own_stream.wait_for_ended(f"lot:{lot}")).code == CloseCode.FORBIDDEN
            await with_own_stream.ping()
            assert amounts(staying.capture) == [1, 2]
            for watcher in (removed, with_own_stream):
                assert amounts(watcher.capture) == [1]
                watcher.capture.assert_nothing_foreign()

            await with_own_stream.send({"type": "subscribe", "stream": f"lot:{lot}", "after": 0})
            await with_own_stream.wait_until(lambda: ended(with_own_stream, lot, times=2), "the second refusal")
            assert amounts(with_own_stream.capture) == [1]


def ended(watcher: Watcher, lot: str, times: int) -> bool:
    codes = [said["code"] for said in watcher.captures[f"lot:{lot}"].said if said["type"] == "ended"]
    return codes == [CloseCode.FORBIDDEN] * times
