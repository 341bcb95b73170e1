"""A second domain beside the jobs: lots of an auction, each with a stream that only its guests may watch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from commitstream.domain import Domain
from commitstream.engine import Engine
from commitstream.events import Event, RightsChanged
from commitstream.tests.jobs.application import JobsSettings, create_app
from commitstream.topics import Stream, Topic
from commitstream.user import User
from test_framework.servers import InLoopServer, in_loop


class BidPlaced(Event):
    amount: int


class Lots(Domain):
    """`guests` are the users who may watch; `before_answer` is called once, after the next look at them."""

    def __init__(self, guests: set[str]) -> None:
        self.guests = guests
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        self.topics = (Topic("lot", events=[BidPlaced], may_watch=self.may_watch),)

    async def may_watch(self, user: User, key: str) -> bool:
        answer, act = user.id in self.guests, self.before_answer
        if act is not None:
            self.before_answer = None
            await act()
        return answer


@asynccontextmanager
async def auction(settings: JobsSettings, lots: Lots) -> AsyncIterator[InLoopServer]:
    """Serve jobs and lots until the block ends."""
    async with in_loop(settings, create_app(settings, more=(lots,))) as server:
        yield server


async def bid(engine: Engine, key: str, *amounts: int) -> None:
    """Commit bids on a lot."""
    async with engine.database.transaction() as session:
        await engine.journal.append(session, Stream("lot", key), *(BidPlaced(amount=amount) for amount in amounts))


async def take_rights(engine: Engine, lots: Lots, key: str) -> None:
    """Leave no guest to the lots, and say so in the stream of one."""
    lots.guests.clear()
    async with engine.database.transaction() as session:
        await engine.journal.append(session, Stream("lot", key), RightsChanged())
