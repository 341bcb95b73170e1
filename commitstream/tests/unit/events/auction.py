"""A product's events: rounds of an auction, which follow an order, and a chat beside them, which follows none."""

from __future__ import annotations

from commitstream.events import Event
from commitstream.topics import Order, Topic
from commitstream.user import User


class RoundOpened(Event, subject="round_id"):
    round_id: str


class BidPlaced(Event, subject="round_id"):
    round_id: str
    amount: int


class RoundClosed(Event, subject="round_id"):
    round_id: str


class Chatted(Event):
    text: str


ROUNDS = Order(
    first=[RoundOpened],
    follows={
        RoundOpened: [BidPlaced, RoundClosed],
        BidPlaced: [BidPlaced, RoundClosed],
        RoundClosed: [],
    },
)


def is_known(user: User, key: str) -> bool:
    return True


LOTS = Topic(
    "lot",
    events=[RoundOpened, BidPlaced, RoundClosed, Chatted],
    may_watch=is_known,
    order=ROUNDS,
    metadata=["source"],
)
