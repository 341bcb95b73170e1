"""A second domain beside the agents: lots of an auction, each with a stream that only its guests may watch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from app.agents import domain as agents
from app.main import create_app
from app.settings import Settings
from commitstream.domain import Domain
from commitstream.engine import Engine
from commitstream.events import Event
from commitstream.topics import Stream, Topic
from commitstream.user import User
from test_framework.servers import InLoopServer, in_loop


class BidPlaced(Event):
    amount: int


class Lots(Domain):
    """`guests` are the users who may watch; those whom a test removes may no longer."""

    def __init__(self, guests: Collection[str]) -> None:
        self.guests = guests
        self.topics = (Topic("lot", events=[BidPlaced], may_watch=self.may_watch),)

    def may_watch(self, user: User, key: str) -> bool:
        return user.id in self.guests


@asynccontextmanager
async def auction(settings: Settings, guests: Collection[str]) -> AsyncIterator[InLoopServer]:
    """Serve agents and lots until the block ends."""
    lots = Lots(guests)
    async with in_loop(settings, create_app(settings, domains=[agents.create, lambda engine, _: lots])) as server:
        yield server


async def bid(engine: Engine, key: str, *amounts: int) -> None:
    """Commit bids on a lot."""
    async with engine.database.transaction() as session:
        await engine.journal.append(session, Stream("lot", key), *(BidPlaced(amount=amount) for amount in amounts))
