"""What a capture says of a shared stream that a server got wrong: its order, its metadata, and what came uninvited."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from pydantic import JsonValue

from commitstream.envelope import Envelope
from commitstream.tests.auction.application import AuctionSettings
from commitstream.tests.auction.client import Watcher
from test_framework.users import TestUserContext
from test_framework.websocket.verdicts import judge
from test_framework.websocket_capture import WebSocketEventCapture

LOT = "lot:42"


@pytest.fixture
def ada() -> TestUserContext:
    return TestUserContext(AuctionSettings(token_secret="x" * 32), "ada")


def captured(user: TestUserContext, *types: str, stream: str = LOT, after: int = 0) -> WebSocketEventCapture:
    capture = WebSocketEventCapture(after, user=user, stream=stream, topics=Watcher.topics)
    for seq, event_type in enumerate(types, after + 1):
        capture.capture(text(seq, event_type, stream))
    return capture


def text(seq: int, event_type: str, stream: str = LOT, **metadata: JsonValue) -> str:
    event = Envelope(seq=seq, v=2, stream=stream, type=event_type, at=datetime.now(UTC), metadata=metadata)
    return event.model_dump_json()


@pytest.mark.parametrize(
    ("types", "after", "fault"),
    [
        (["lot_opened", "bid_placed"], 0, ()),
        (["lot_opened", "rights_changed", "lot_closed"], 0, ()),
        (["bid_placed", "lot_closed"], 1, ()),
        (["bid_placed"], 0, ("bid_placed can't follow the beginning: expected lot_opened, in lot:42",)),
        (["lot_closed", "bid_placed"], 1, ("bid_placed can't follow lot_closed: expected nothing more, in lot:42",)),
    ],
    ids=["open", "closed", "resumed", "without its beginning", "after its end"],
)
def test_stream_keeps_the_order_of_its_topic(
    ada: TestUserContext, types: list[str], after: int, fault: tuple[str, ...]
) -> None:
    verdict = judge(captured(ada, *types, after=after))

    assert verdict.order == fault
    assert verdict.valid == (not fault), verdict


def test_metadata_that_the_topic_hides_is_for_no_watcher(ada: TestUserContext) -> None:
    capture = captured(ada, "lot_opened")
    capture.capture(text(2, "bid_placed", bidder="bob", request_id="r1"))

    assert judge(capture).extra == ("bidder, request_id in event 2 bid_placed",)
    with pytest.raises(AssertionError, match="2 bid_placed of lot:42 with bidder, request_id"):
        capture.assert_nothing_foreign()


@pytest.mark.parametrize("word", ["ended", "unsubscribed"])
def test_event_after_the_end_of_its_subscription_is_foreign(ada: TestUserContext, word: str) -> None:
    capture = captured(ada, "lot_opened")
    capture.capture(json.dumps({"type": word, "stream": LOT, "code": 4403, "reason": "you may not watch lot:42"}))
    capture.capture(text(2, "bid_placed"))
    capture.capture(json.dumps({"type": "subscribed", "stream": LOT, "cursor": 2}))
    capture.capture(text(3, "bid_placed"))

    assert [event.seq for event in capture.foreign] == [2]
    with pytest.raises(AssertionError, match="1 of 3 events are not ada's:\n2 bid_placed of lot:42"):
        capture.assert_nothing_foreign()


def test_subscription_outlives_the_refusal_of_a_second_one(ada: TestUserContext) -> None:
    capture = captured(ada, "lot_opened")
    capture.capture(json.dumps({"type": "ended", "stream": LOT, "code": 4409, "reason": "subscribed already"}))
    capture.capture(text(2, "bid_placed"))

    capture.assert_nothing_foreign()
    assert capture.ending is None


def test_own_stream_of_another_user_is_foreign_although_it_was_subscribed(ada: TestUserContext) -> None:
    assert [event.seq for event in captured(ada, "outbid", stream="user:bob").foreign] == [1]
    captured(ada, "outbid", stream="user:ada").assert_nothing_foreign()
