"""Cursors that the journal does not know are refused, and one at the beginning of a long past shows all of it."""

from __future__ import annotations

import pytest

from commitstream.journal import LARGEST_NUMBER
from commitstream.tests.jobs.client import JobsContext
from test_framework.backend_client import UnexpectedAnswer
from test_framework.servers import Server
from test_framework.websocket.line import SocketClosed


async def test_a_long_past_is_replayed_in_pages_without_a_seam(ada: JobsContext) -> None:
    thoughts = [f"!think {number}" for number in range(620)]  # a page of the journal is 500
    past = [await ada.do("\n".join(thoughts[begin : begin + 124])) for begin in range(0, 620, 124)]

    async with JobsContext(ada.server, ada.user, joined=True) as late:
        last = await ada.start("!think and live")
        await late.wait_for_end(last.id)

        late.capture.assert_unbroken()
        shown = [event.payload.get("thought") for job in past for event in late.capture.of_run(job.id)[1:-1]]
        assert shown == [str(number) for number in range(620)]


class TestCursorsThatAreUnknown:
    @pytest.mark.parametrize("ahead", [1, 2, 1000, LARGEST_NUMBER - 3])
    async def test_one_ahead_of_everything_is_refused_and_told_to_begin_again(
        self, ada: JobsContext, ahead: int
    ) -> None:
        await ada.do("!think")  # three events
        async with JobsContext(ada.server, ada.user, after=3 + ahead) as lost:
            closed = await lost.wait_for_close()

        assert closed.code == 4410
        assert closed.reason == f"cursor {3 + ahead} is ahead of the last event, 3: begin again with after 0"
        with pytest.raises(UnexpectedAnswer, match=r"(?s)got 409.*begin again at 0"):
            async with ada.client.stream(after=3 + ahead):
                pass

    async def test_one_of_a_user_who_has_no_events_is_refused(self, shared_server: Server) -> None:
        async with JobsContext(shared_server, after=1) as unknown_user:
            assert (await unknown_user.wait_for_close()).code == 4410

    async def test_one_of_another_user_shows_one_s_own_events_if_there_are_so_many(
        self, ada: JobsContext, bob: JobsContext
    ) -> None:
        await bob.do("!think his")
        await ada.do("hers, longer")

        async with JobsContext(bob.server, bob.user, after=ada.capture.cursor) as confused:
            assert (await confused.wait_for_close()).code == 4410
        async with JobsContext(ada.server, ada.user, after=bob.capture.cursor) as lucky:
            await lucky.wait_for_seq(5)
            assert lucky.capture.events == ada.capture.events[3:]

    @pytest.mark.parametrize("after", [-1, 1.5, "3", LARGEST_NUMBER + 1, True, []], ids=repr)
    async def test_one_that_is_no_number_of_an_event_is_no_hello(self, ada: JobsContext, after: object) -> None:
        wrong = JobsContext(ada.server, ada.user, after=after)  # type: ignore[arg-type]

        with pytest.raises(SocketClosed) as closed:
            await wrong.connect()

        assert closed.value.code == 4400
        await wrong.close()

    async def test_who_was_refused_begins_again_and_sees_everything(self, ada: JobsContext) -> None:
        job = await ada.do("hello")
        async with JobsContext(ada.server, ada.user, after=99) as lost:
            await lost.wait_for_close()

            await lost.connect(after=0)
            await lost.wait_for_end(job.id)

            lost.capture.assert_same_as(ada.capture)
