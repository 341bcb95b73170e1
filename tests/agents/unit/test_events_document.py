"""The events that docs/events.md declares and writes are those that the engine takes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from textwrap import indent
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from app.agents import domain as agents
from app.main import create_app
from app.settings import ROOT, Settings
from commitstream.db.tables import DeadLetter
from commitstream.engine import Engine
from commitstream.envelope import Envelope
from commitstream.events import RightsChanged
from commitstream.topics import OrderError, user_stream
from test_framework.servers import in_loop

DOCUMENT = (ROOT / "docs/events.md").read_text(encoding="utf-8")
LOT = "lot:42"


def block(holding: str) -> str:
    """The first block of Python that holds a text."""
    return next(str(found) for found in re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL) if holding in found)


def run(code: str, names: dict[str, Any]) -> None:
    exec(compile(code, "docs/events.md", "exec", dont_inherit=True), names)


async def act(code: str, names: dict[str, Any]) -> None:
    """Run a block that awaits."""
    run(f"async def act():\n{indent(code, '    ')}", names)
    await names["act"]()


class World:
    """The application of the document: its names, and the engine that knows its domain."""

    def __init__(self, engine: Engine, names: dict[str, Any]) -> None:
        self.engine = engine
        self.names = names

    async def append(self, *events: str) -> None:
        """Write events of the lot, each of a class of the document."""
        given: dict[str, dict[str, object]] = {
            "LotOpened": {"title": "a vase"},
            "BidPlaced": {"amount": 100},
            "LotClosed": {"winner": None},
        }
        async with self.engine.database.transaction() as session:
            made = [self.names[name](**given[name]) for name in events]
            await self.engine.journal.append(session, self.names["LOTS"].stream("42"), *made)

    async def written(self, stream: str) -> list[Envelope]:
        page = await self.engine.journal.after(stream, 0)
        return [Envelope.model_validate_json(frame) for frame in page.frames] if page else []


@pytest_asyncio.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    names: dict[str, Any] = {"RightsChanged": RightsChanged, "user_stream": user_stream}
    run(block("class BidPlaced"), names)
    app = create_app(settings, domains=[agents.create, lambda engine, _: names["Auction"]()])
    async with in_loop(settings, app) as server:
        names["engine"] = server.engine
        yield World(server.engine, names)


async def test_both_events_of_the_document_are_written_with_its_row(world: World) -> None:
    await world.append("LotOpened")
    row = DeadLetter(consumer="any", stream=LOT, seq=1, event="{}", reason="", attempts=1, at=datetime.now(UTC))

    await act(block("BidPlaced(amount=110)"), world.names | {"row": row})

    bid = (await world.written(LOT))[-1]
    (outbid,) = await world.written("user:bob")
    assert (bid.type, bid.payload, bid.metadata) == ("bid_placed", {"amount": 110}, {"request_id": "c94f"})
    assert (outbid.type, outbid.subject, outbid.payload) == ("outbid", "42", {"amount": 110})
    async with world.engine.database.reading() as session:
        assert await session.scalar(text("SELECT count(*) FROM commitstream_dead_letters")) == 1


async def test_a_bid_on_a_closed_lot_breaks_the_order_of_the_document(world: World) -> None:
    await world.append("LotOpened", "BidPlaced", "LotClosed")

    with pytest.raises(OrderError, match="bid_placed can't follow lot_closed: expected nothing more"):
        await world.append("BidPlaced")

    assert [event.type for event in await world.written(LOT)] == ["lot_opened", "bid_placed", "lot_closed"]


async def test_the_change_of_rights_of_the_document_is_taken(world: World) -> None:
    async with world.engine.database.transaction() as session:
        await act(block("RightsChanged()"), world.names | {"session": session})

    assert [event.type for event in await world.written(LOT)] == ["rights_changed"]
