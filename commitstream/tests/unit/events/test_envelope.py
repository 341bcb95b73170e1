"""An event is put into words once, and every later form of it is the same words."""

from __future__ import annotations

import json

import pytest
from websockets.frames import Opcode
from websockets.protocol import CLIENT, Protocol, State

from commitstream.envelope import Batch, Draft, Envelope, batches, frame, merged
from commitstream.events import Event
from commitstream.journal import NO_METADATA
from commitstream.tests.unit.events.worlds import batch_of
from commitstream.topics import users


class Said(Event):
    text: str


class BidPlaced(Event, subject="lot_id"):
    lot_id: str
    amount: int


USERS = users(events=[Said, BidPlaced])
ADA = USERS.stream("ada")


def numbered(texts: list[str], first: int = 1) -> Batch:
    drafts = [Draft.write(USERS, ADA, Said(text=text), NO_METADATA) for text in texts]
    return Batch(str(ADA), first, [frame(first + n, draft.body) for n, draft in enumerate(drafts)])


def messages(wire: bytes) -> list[str]:
    """What a client makes of bytes on its socket."""
    client = Protocol(CLIENT, state=State.OPEN, max_size=None)
    client.receive_data(wire)
    received = client.events_received()
    assert client.state is State.OPEN
    assert all(
        getattr(message, "opcode", None) is Opcode.TEXT and getattr(message, "fin", False) for message in received
    )
    return [bytes(getattr(message, "data", b"")).decode() for message in received]


class TestFrames:
    def test_a_frame_is_the_envelope_that_clients_are_promised(self) -> None:
        draft = Draft.write(USERS, ADA, BidPlaced(lot_id="42", amount=5), NO_METADATA)

        text = frame(7, draft.body)

        assert text == (
            '{"seq":7,"v":2,"stream":"user:ada","type":"bid_placed","subject":"42",'
            f'"at":"{draft.at.isoformat().replace("+00:00", "Z")}","payload":{{"amount":5}}}}'
        )
        assert Envelope.model_validate_json(text).at == draft.at

    def test_an_event_without_a_subject_has_none_in_its_frame(self) -> None:
        shown = json.loads(frame(1, Draft.write(USERS, ADA, Said(text="hm"), NO_METADATA).body))

        assert shown.keys() == {"seq", "v", "stream", "type", "at", "payload"}

    @pytest.mark.parametrize("size", [0, 1, 10, 100, 125, 126, 1000, 65_000, 65_535, 65_536, 200_000])
    def test_its_bytes_are_what_a_client_reads_whatever_their_number(self, size: int) -> None:
        batch = numbered(["x" * size, "ü" * size])

        assert messages(batch.wire()) == list(batch.frames)
        assert messages(batch.joined_wire()) == ["\n".join(batch.frames)]

    @pytest.mark.parametrize("text", ["", "line\nbreak", '"quoted"', "\u2028", "\x00", "🐘" * 10])
    def test_a_batch_goes_over_the_bus_and_comes_back_the_same(self, text: str) -> None:
        batch = numbered([text, text], first=41)

        back = Batch.unpack("ada", batch.packed())

        assert (back.first, back.last, back.frames) == (41, 42, list(batch.frames))
        assert json.loads(back.frames[0])["payload"]["text"] == text

    @pytest.mark.parametrize("text", ["", "noise", '{"seq":', '{"seq":x,', '{"seq":"1",', '{"kind":1,"seq":2}', "[]"])
    def test_what_is_no_batch_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r".*"):
            Batch.unpack("ada", text)


class TestBatches:
    def test_rows_are_gathered_by_stream_and_parted_where_a_number_is_missing(self) -> None:
        rows = [("ada", 1, "{}"), ("ada", 2, "{}"), ("ada", 4, "{}"), ("bob", 5, "{}")]

        found = [(batch.stream, batch.first, batch.last) for batch in batches(rows)]

        assert found == [("ada", 1, 2), ("ada", 4, 4), ("bob", 5, 5)]

    def test_what_follows_on_another_is_merged_and_nothing_else(self) -> None:
        parts = [batch_of("ada", 3, 4), batch_of("bob", 3, 3), batch_of("ada", 1, 2), batch_of("ada", 6, 6)]

        found = [(batch.stream, batch.first, batch.last) for batch in merged(parts)]

        assert found == [("ada", 1, 4), ("ada", 6, 6), ("bob", 3, 3)]

    @pytest.mark.parametrize(("after", "left"), [(0, (3, 5)), (2, (3, 5)), (3, (4, 5)), (4, (5, 5))])
    def test_what_comes_after_a_number_is_cut_there(self, after: int, left: tuple[int, int]) -> None:
        batch = batch_of("ada", 3, 5).after(after)

        assert (batch.first, batch.last) == left
        assert [json.loads(text)["seq"] for text in batch.frames] == list(range(left[0], left[1] + 1))
