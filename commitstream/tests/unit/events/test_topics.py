"""Topics: a closed set of types, a right to watch, an order; and streams, whose names can't be forged."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from commitstream.engine import Engine
from commitstream.events import Event, RightsChanged
from commitstream.tests.unit.events.auction import LOTS, ROUNDS, BidPlaced, Chatted, RoundClosed, RoundOpened, is_known
from commitstream.topics import (
    LONGEST_KEY,
    InvalidStreamError,
    Order,
    Stream,
    Topic,
    Topics,
    UnknownEventTypeError,
    UnknownTopicError,
    user_stream,
    users,
)
from commitstream.user import User
from test_framework.fixtures import MakeSettings

ADA = User("ada", datetime(2100, 1, 1, tzinfo=UTC))


class OtherBid(Event, name="bid_placed"):
    """An event type that has another's name."""


class TestTypes:
    def test_a_type_that_is_not_declared_is_refused_with_the_list(self) -> None:
        chat = Topic("chat", events=[Chatted], may_watch=is_known)

        with pytest.raises(
            UnknownEventTypeError,
            match=r"topic chat takes no bid_placed \(BidPlaced\); it takes chatted, rights_changed",
        ):
            chat.require(BidPlaced(round_id="r", amount=1))

    def test_another_class_with_a_declared_name_is_refused(self) -> None:
        with pytest.raises(UnknownEventTypeError, match=r"topic lot takes no bid_placed \(OtherBid\)"):
            LOTS.require(OtherBid())

    def test_the_bare_event_is_refused(self) -> None:
        with pytest.raises(UnknownEventTypeError, match="topic lot takes no"):
            LOTS.require(Event())

    def test_every_topic_takes_a_change_of_rights(self) -> None:
        for topic in Topics([LOTS]):
            topic.require(RightsChanged())

    def test_two_types_of_one_name_are_refused(self) -> None:
        with pytest.raises(ValueError, match="topic lot: two event types are named bid_placed"):
            Topic("lot", events=[BidPlaced, OtherBid], may_watch=is_known)


class TestOrders:
    def test_a_type_that_is_reached_needs_its_followers(self) -> None:
        with pytest.raises(ValueError, match="the order does not say what follows bid_placed, round_closed"):
            Order(first=[RoundOpened], follows={RoundOpened: [BidPlaced, RoundClosed]})

    def test_a_type_that_the_topic_does_not_take_is_refused(self) -> None:
        with pytest.raises(ValueError, match="topic lot: its order names round_closed, round_opened, which it"):
            Topic("lot", events=[BidPlaced], may_watch=is_known, order=ROUNDS)

    def test_the_last_types_are_those_that_nothing_follows(self) -> None:
        assert ROUNDS.last == {"round_closed"}


async def later(user: User, key: str) -> bool:
    return (user.id, key) == ("ada", "42")


async def asks_the_engine(user: User, key: str, engine: Engine) -> bool:
    return engine.counters.committed == 0 and key == "42"


class TestRights:
    @pytest.mark.parametrize(
        "may_watch",
        [lambda user, key: (user.id, key) == ("ada", "42"), later, asks_the_engine],
        ids=["sync", "async", "engine"],
    )
    async def test_the_right_is_asked_of_the_function(
        self, may_watch: Callable[..., Any], make_settings: MakeSettings
    ) -> None:
        engine = Engine(make_settings())
        topic = Topic("lot", events=[], may_watch=may_watch)

        assert [await topic.allows(ADA, key, engine) for key in ("42", "43")] == [True, False]

    @pytest.mark.parametrize("key", ["Ada", "ada ", "bob", "ada:ada", "user:ada", "*", "\uff41da"])
    async def test_a_users_stream_is_watched_by_that_user_alone(self, key: str, make_settings: MakeSettings) -> None:
        engine = Engine(make_settings())

        assert await users().allows(ADA, "ada", engine)
        assert not await users().allows(ADA, key, engine)


class TestRegistry:
    def test_topics_of_one_name_are_merged(self) -> None:
        topics = Topics([users(events=[Chatted], metadata=["source"]), users(events=ROUND_TYPES, order=ROUNDS)])

        merged = topics.of(user_stream("ada"))

        assert merged.events.keys() == {"chatted", "round_opened", "bid_placed", "round_closed", "rights_changed"}
        assert merged.order_of("bid_placed") is ROUNDS
        assert merged.order_of("chatted") is None
        assert merged.metadata_shown("chatted") == {"source"}
        assert merged.metadata_shown("bid_placed") == frozenset()

    def test_topics_of_one_name_and_two_rights_are_refused(self) -> None:
        with pytest.raises(ValueError, match="two topics are named lot, and differ in who may watch"):
            Topics([LOTS, Topic("lot", events=[], may_watch=later)])

    def test_merged_topics_can_not_name_two_types_alike(self) -> None:
        with pytest.raises(ValueError, match="topic user: two event types are named bid_placed"):
            Topics([users(events=[BidPlaced]), users(events=[OtherBid])])

    def test_an_unknown_topic_is_refused_with_those_there_are(self) -> None:
        with pytest.raises(UnknownTopicError, match="there is no topic 'stage'; there are lot, user"):
            Topics([LOTS]).of(Stream("stage", "1"))

    def test_the_event_types_are_listed_once_and_as_declared(self) -> None:
        assert Topics([LOTS, users(events=[Chatted])]).event_types == [
            "chatted",
            "round_opened",
            "bid_placed",
            "round_closed",
        ]


ROUND_TYPES = (RoundOpened, BidPlaced, RoundClosed)


class TestNames:
    @pytest.mark.parametrize("key", ["ada", "lot:42", ":", "a:b:c", "user:ada", "ä b", "*", "🐘", "x" * LONGEST_KEY])
    def test_a_name_is_read_back_as_it_was_written(self, key: str) -> None:
        assert Stream.parse(str(user_stream(key))) == Stream("user", key)

    def test_a_user_named_like_a_lot_has_another_stream(self) -> None:
        forged = user_stream("lot:42")

        assert str(forged) == "user:lot:42"
        assert Stream.parse(str(forged)).topic == "user"
        assert forged != Stream("lot", "42")

    @pytest.mark.parametrize(
        "name",
        ["", "lot", ":", "lot:", ":42", "Lot:42", "1lot:42", " lot:42", "lot :42", "l\0t:42", "ł:1", "x" * 41 + ":1"],
    )
    def test_a_text_that_is_no_name_is_refused(self, name: str) -> None:
        with pytest.raises(InvalidStreamError):
            Stream.parse(name)

    @pytest.mark.parametrize(
        "key", ["a\nb", "a\0b", "\x1b[0m", "a\u2028b", "\u202eada", "\ud800", "x" * (LONGEST_KEY + 1)]
    )
    def test_a_key_with_control_characters_is_refused(self, key: str) -> None:
        with pytest.raises(InvalidStreamError, match="printable characters"):
            user_stream(key)
