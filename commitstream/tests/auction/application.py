"""A live auction on the engine, by its public names alone: many users watch one lot, and `outbid` reaches one of them.

Everything that a bid changes is one transaction: the bid, the lot, the event of the lot's watchers and the one of the
user who was outbid.
"""

from __future__ import annotations

import secrets
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel, Field, JsonValue
from pydantic_settings import SettingsConfigDict
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from commitstream import (
    CleanupCoordinator,
    Domain,
    Engine,
    EngineDep,
    EngineSettings,
    Event,
    Migrations,
    Order,
    OrderError,
    Problem,
    RightsChanged,
    Topic,
    User,
    UserDep,
    install,
    user_stream,
    users,
)
from commitstream.tests.auction.tables import Base, Bid, Guest, Lot

HIGHEST_BID = 1_000_000_000
migrations = Migrations(Path(__file__).parent / "versions", [Base.metadata])


class AuctionSettings(EngineSettings):
    model_config = SettingsConfigDict(env_prefix="AUCTION_")


class LotOpened(Event):
    title: str
    price: int


class BidPlaced(Event):
    amount: int
    note: str = ""


class LotClosed(Event):
    price: int
    sold: bool


class Outbid(Event, subject="lot_id"):
    lot_id: str
    amount: int


class NewLot(BaseModel):
    title: str = "a lot"
    price: int = Field(0, ge=0)
    private: bool = False
    guests: tuple[str, ...] = ()


class LotView(BaseModel):
    id: str


class Offer(BaseModel):
    amount: int = Field(gt=0, le=HIGHEST_BID)
    note: str = ""


async def may_watch(user: User, lot_id: str, engine: Engine) -> bool:
    """Everybody may watch a public lot, its seller and its guests a private one."""
    async with engine.reading() as session:
        lot = await session.get(Lot, lot_id)
        return lot is not None and await _lets_in(session, lot, user)


LOTS = Topic(
    "lot",
    events=[LotOpened, BidPlaced, LotClosed],
    may_watch=may_watch,
    order=Order(
        first=[LotOpened],
        follows={LotOpened: [BidPlaced, LotClosed], BidPlaced: [BidPlaced, LotClosed], LotClosed: []},
    ),
)

router = APIRouter(prefix="/api/lots", tags=["auction"])


@router.post("", status_code=HTTPStatus.CREATED)
async def open_lot(new: NewLot, user: UserDep, engine: EngineDep) -> LotView:
    lot = Lot(
        id=secrets.token_hex(6),
        title=new.title,
        seller=user.id,
        private=new.private,
        closed=False,
        price=new.price,
        leader=None,
    )
    async with engine.transaction() as session:
        session.add(lot)
        session.add_all(Guest(lot_id=lot.id, user_id=guest) for guest in new.guests)
        await engine.append(session, LOTS.stream(lot.id), LotOpened(title=lot.title, price=lot.price))
    return LotView(id=lot.id)


@router.post("/{lot_id}/bids", status_code=HTTPStatus.CREATED)
async def place_bid(lot_id: str, offer: Offer, user: UserDep, engine: EngineDep, request: Request) -> None:
    origin: dict[str, JsonValue] = {"bidder": user.id, "request_id": request.state.request_id}
    async with engine.transaction() as session:
        lot = await _locked(session, lot_id)
        if not await _lets_in(session, lot, user):
            raise Problem(HTTPStatus.FORBIDDEN, "this lot is private")
        if lot.closed or offer.amount <= lot.price:
            raise Problem(HTTPStatus.CONFLICT, "the lot is closed" if lot.closed else f"the price is {lot.price}")
        outbid, lot.leader, lot.price = lot.leader, user.id, offer.amount
        session.add(Bid(lot_id=lot_id, amount=offer.amount, bidder=user.id))
        placed = BidPlaced(amount=offer.amount, note=offer.note)
        await engine.append(session, LOTS.stream(lot_id), placed, metadata=origin)
        if outbid is not None and outbid != user.id:
            event = Outbid(lot_id=lot_id, amount=offer.amount)
            await engine.append(session, user_stream(outbid), event, metadata=origin)


@router.post("/{lot_id}/close", status_code=HTTPStatus.NO_CONTENT)
async def close_lot(lot_id: str, user: UserDep, engine: EngineDep) -> None:
    try:
        async with engine.transaction() as session:
            lot = await _owned(session, lot_id, user)
            lot.closed = True
            event = LotClosed(price=lot.price, sold=lot.leader is not None)
            await engine.append(session, LOTS.stream(lot_id), event)
    except OrderError as refused:  # the topic's order knows that nothing follows lot_closed
        raise Problem(HTTPStatus.CONFLICT, str(refused)) from None


@router.delete("/{lot_id}/guests/{guest_id}", status_code=HTTPStatus.NO_CONTENT)
async def remove_guest(lot_id: str, guest_id: str, user: UserDep, engine: EngineDep) -> None:
    async with engine.transaction() as session:
        await _owned(session, lot_id, user)
        await session.execute(delete(Guest).where(Guest.lot_id == lot_id, Guest.user_id == guest_id))
        await engine.append(session, LOTS.stream(lot_id), RightsChanged())


async def _lets_in(session: AsyncSession, lot: Lot, user: User) -> bool:
    return not lot.private or lot.seller == user.id or await session.get(Guest, (lot.id, user.id)) is not None


async def _locked(session: AsyncSession, lot_id: str) -> Lot:
    lot = await session.get(Lot, lot_id, with_for_update=True)
    if lot is None:
        raise Problem(HTTPStatus.NOT_FOUND, "there is no such lot")
    return lot


async def _owned(session: AsyncSession, lot_id: str, user: User) -> Lot:
    lot = await _locked(session, lot_id)
    if lot.seller != user.id:
        raise Problem(HTTPStatus.FORBIDDEN, "only the seller may do this")
    return lot


class Auction(Domain):
    topics = (LOTS, users(events=[Outbid]))
    routers = (router,)


def create_app(settings: AuctionSettings, cleanup: CleanupCoordinator | None = None) -> FastAPI:
    """Build the auction; its lifespan starts it and stops it."""
    engine = Engine(settings, migrations=migrations)
    app = FastAPI(title="auction")
    install(app, engine, [Auction()], cleanup)
    return app
