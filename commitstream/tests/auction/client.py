"""The auction's HTTP interface as typed calls, and its users as watchers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from commitstream.tests.auction.application import Auction, LotView
from commitstream.topics import Topics
from test_framework.backend_client import BackendClient
from test_framework.servers import Server
from test_framework.test_context import TestContext
from test_framework.users import TestUserContext
from test_framework.websocket.clients import Clients
from test_framework.websocket_capture import WebSocketEventCapture


class AuctionClient(BackendClient):
    """Speaks for one user of the auction."""

    @property
    def known(self) -> TestUserContext:
        assert self.user is not None
        return self.user

    @property
    def id(self) -> str:
        return self.known.id

    async def open_lot(self, price: int = 0, *, guests: Sequence[str] | None = None) -> str:
        """Open a lot and return its id; with guests it is private."""
        lot = {"price": price, "private": guests is not None, "guests": list(guests or ())}
        answer = await self.expect(201, "POST", "/api/lots", json=lot)
        return LotView.model_validate_json(answer.content).id

    async def bid(self, lot: str, amount: int, note: str = "") -> bool:
        """Place a bid; False where the price is higher by now, or the lot is closed."""
        answer = await self.expect((201, 409), "POST", f"/api/lots/{lot}/bids", json={"amount": amount, "note": note})
        return answer.status_code == 201

    async def close_lot(self, lot: str) -> bool:
        """Close a lot; False where it was closed before."""
        answer = await self.expect((204, 409), "POST", f"/api/lots/{lot}/close")
        return answer.status_code == 204

    async def remove_guest(self, lot: str, guest: str) -> None:
        await self.expect(204, "DELETE", f"/api/lots/{lot}/guests/{guest}")


def client_of(server: Server, name: str = "ada") -> AuctionClient:
    """Return the client of a user whom no other test knows."""
    return AuctionClient.of(server, TestUserContext.of(server.settings, name))


class Watcher(TestContext):
    """A user of the auction on a socket, whose streams keep the auction's rules."""

    topics = Topics(Auction.topics)


CLIENTS = Clients(Watcher)
isolated_users, slow_reader, dropping = CLIENTS.isolated_users, CLIENTS.slow_reader, CLIENTS.dropping


def watching(server: Server, lot: str, user: TestUserContext | None = None, *, after: int | None = 0) -> Watcher:
    """Return a user's connection that watches a lot, and the user's own stream."""
    user = user or TestUserContext.of(server.settings, "watcher")
    return Watcher(server, user, after=after, watch=[f"lot:{lot}", user.stream])


def amounts(capture: WebSocketEventCapture) -> list[int]:
    """Return the amounts of the bids, or of the bids by which a user was outbid, in the order in which they came."""
    return [cast("int", event.payload["amount"]) for event in capture.events if "amount" in event.payload]
