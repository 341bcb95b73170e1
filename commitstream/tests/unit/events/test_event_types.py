"""Event types: their names, their subjects, and what is no event type."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from commitstream.events import Event
from commitstream.tests.unit.events.auction import BidPlaced, Chatted


class HTTPCallFailed(Event):
    """A name with an abbreviation."""


class Round2Opened(Event):
    """A name with a digit."""


class Renamed(Event, name="bid_placed"):
    """A class that is called otherwise than its type."""


class LateBid(BidPlaced):
    """A type that inherits its subject."""


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (BidPlaced, "bid_placed"),
        (Chatted, "chatted"),
        (HTTPCallFailed, "http_call_failed"),
        (Round2Opened, "round2_opened"),
        (Renamed, "bid_placed"),
        (LateBid, "late_bid"),
    ],
)
def test_a_type_is_named_after_its_class(kind: type[Event], name: str) -> None:
    assert kind.event_type == name


def test_the_subject_is_no_part_of_the_payload() -> None:
    event = BidPlaced(round_id="r-1", amount=5)

    assert (event.subject, event.payload()) == ("r-1", {"amount": 5})


def test_a_type_without_a_subject_has_none() -> None:
    event = Chatted(text="hm")

    assert (event.subject, event.payload()) == (None, {"text": "hm"})


def test_a_subject_is_inherited() -> None:
    assert LateBid(round_id="r-1", amount=5).subject == "r-1"


def test_a_subject_of_another_type_is_shown_as_text() -> None:
    class Counted(Event, subject="number"):
        number: int

    assert Counted(number=7).subject == "7"


def test_an_event_can_not_be_changed() -> None:
    event = Chatted(text="hm")

    with pytest.raises(ValidationError, match="frozen"):
        event.text = "changed"  # type: ignore[misc]


def test_a_field_that_is_not_declared_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Chatted.model_validate({"text": "hm", "more": 1})


@pytest.mark.parametrize("name", ["Bid", "bid-placed", "bid placed", "1bid", "bid\n", '"bid"', "gebö"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match="an event type is lower-case letters, digits and _"):
        type("Bid", (Event,), {"__module__": __name__}, name=name)


def test_a_subject_that_is_no_field_is_refused() -> None:
    with pytest.raises(TypeError, match="Bid has no field 'lot_id' to be its subject"):
        type("Bid", (Event,), {"__module__": __name__}, subject="lot_id")


@pytest.mark.parametrize("name", ["subject", "payload", "event_type", "subject_field"])
def test_a_field_named_as_a_part_of_the_event_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=f"Mail: a field can't be named {name}"):
        type("Mail", (Event,), {"__module__": __name__, "__annotations__": {name: str}})
