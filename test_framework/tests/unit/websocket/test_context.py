"""JobsContext on real sockets: of the service itself, and of a server that lies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus

import pytest
import pytest_asyncio

from commitstream.domain import Domain
from commitstream.events import Event
from commitstream.settings import EngineSettings
from commitstream.tests.jobs.application import JobsSettings, create_app
from commitstream.tests.jobs.client import BEGUN, DONE, ENDED, STARTED, THE_FIVE, THOUGHT, JobsContext
from commitstream.topics import Stream, Topic, user_stream
from test_framework.servers import InLoopServer, Server, in_loop
from test_framework.tests.unit.websocket.liar import liar
from test_framework.tests.unit.websocket.planted import ADA, EVE, ada_of, run_of, text
from test_framework.users import TestUserContext
from test_framework.waiting import becomes
from test_framework.websocket.line import NoServer, SocketClosed

SOON = 0.05


class TestWithAService:
    async def test_a_run_is_started_captured_to_its_end_and_valid(self, ada: JobsContext) -> None:
        job = await ada.do("how many words are these")

        ada.capture.assert_kinds(job.id, THE_FIVE)
        verdict = ada.validate(THE_FIVE)
        assert verdict.valid, verdict
        assert verdict.counts == dict.fromkeys(THE_FIVE, 1)

    async def test_events_are_received_one_by_one_in_order(self, ada: JobsContext) -> None:
        await ada.start("hello")

        assert [(await ada.receive()).type for _ in range(5)] == list(THE_FIVE)

    async def test_events_that_are_waited_for_are_given_whatever_comes_between(self, ada: JobsContext) -> None:
        job = await ada.start("hello")

        found = await ada.wait_for_events([STARTED, DONE, ENDED], run_id=job.id)

        assert [event.seq for event in found] == [1, 4, 5]

    async def test_events_in_another_order_than_they_come_are_waited_for_in_vain(self, ada: JobsContext) -> None:
        job = await ada.do("hello")

        with pytest.raises(AssertionError, match=rf"job_ended, job_started of run {job.id} did not come"):
            await ada.wait_for_events([ENDED, STARTED], SOON, run_id=job.id)

    async def test_events_of_another_run_are_no_answer(self, ada: JobsContext) -> None:
        await ada.do("hello")

        with pytest.raises(AssertionError, match="the last event of another did not come within"):
            await ada.wait_for_end("another", SOON)

    async def test_a_time_out_says_what_was_awaited_and_what_came(self, ada: JobsContext) -> None:
        await ada.do("!think once")
        await ada.ping()

        with pytest.raises(AssertionError) as late:
            await ada.wait_for_seq(9, SOON)

        assert str(late.value) == (
            "event 9 did not come within 0.05 s; what came: "
            "['1 job_started', '2 job_thought', '3 job_ended'], and [{'type': 'pong'}]"
        )

    async def test_it_comes_back_with_its_cursor_and_misses_nothing(self, ada: JobsContext) -> None:
        await ada.do("before")
        await ada.disconnect()
        job = await ada.start("meanwhile")

        await ada.connect()
        await ada.wait_for_end(job.id)

        ada.capture.assert_unbroken()
        assert (len(ada.capture.events), ada.performance().connections) == (10, 2)

    async def test_without_a_cursor_it_is_shown_what_is_to_come(self, ada: JobsContext) -> None:
        await ada.do("before")

        async with JobsContext(ada.server, ada.user, after=None) as late:
            job = await late.do("after")

            assert late.capture.after == 5
            assert late.capture.runs == [job.id]
            late.capture.assert_unbroken()

    async def test_joined_messages_are_captured_as_the_events_they_are(self, ada: JobsContext) -> None:
        await ada.do("hello")

        async with JobsContext(ada.server, ada.user, joined=True) as joined:
            await joined.wait_for_seq(5)

            joined.capture.assert_same_as(ada.capture)

    async def test_a_server_that_closes_is_told_with_its_code_at_once(self, ada: JobsContext) -> None:
        began = time.monotonic()
        await ada.send("this is no message")

        with pytest.raises(
            SocketClosed, match=r"closed with 4400 \(not a message.*\) while event 1 was awaited"
        ) as told:
            await ada.wait_for_seq(1, 10)

        assert (told.value.code, ada.closed and ada.closed.code) == (4400, 4400)
        assert time.monotonic() - began < 5

    async def test_a_close_can_be_waited_for(self, ada: JobsContext) -> None:
        await ada.send("this is no message")

        assert (await ada.wait_for_close()).code == 4400

    @pytest.mark.parametrize(
        ("token", "reason"),
        [
            (lambda user: user.expired_token, "the token has expired"),
            (lambda user: user.forged_token, "a key that is not in use here"),
            (lambda user: user.token[:-2], "the token is not valid here"),
        ],
        ids=["expired", "forged", "cut short"],
    )
    async def test_a_worthless_token_is_refused_with_4401(
        self, shared_server: Server, token: Callable[[TestUserContext], str], reason: str
    ) -> None:
        eve = JobsContext(shared_server)

        with pytest.raises(SocketClosed, match=reason) as refused:
            await eve.connect(token=token(eve.user))

        assert refused.value.code == 4401
        await eve.close()

    async def test_one_that_vanished_takes_nothing_more_and_can_come_back(self, ada: JobsContext) -> None:
        ada.drop_after(2)
        job = await ada.start("hello")
        await ada.wait_for_close()
        assert [event.seq for event in ada.capture.events] == [1, 2]

        await ada.connect()
        await ada.wait_for_end(job.id)

        ada.capture.assert_unbroken()

    async def test_how_quick_it_was_is_told(self, ada: JobsContext) -> None:
        await ada.do("hello")

        performance = ada.performance()

        assert (performance.events, performance.connections, performance.latency.count) == (5, 1, 5)
        assert performance.events_per_second == performance.events / performance.seconds
        assert 0 <= performance.latency.median <= performance.latency.p95 <= performance.latency.worst < 5

    async def test_after_its_block_nothing_of_it_is_left(self, shared_server: Server) -> None:
        others = asyncio.all_tasks()

        async with JobsContext(shared_server) as ada:
            await ada.do("hello")

        await becomes(
            lambda: not [task for task in asyncio.all_tasks() - others if task.get_name().startswith("a test's")],
            "the end of the test's tasks",
        )
        with pytest.raises(RuntimeError, match="not connected"):
            await ada.send("too late")


class Bid(Event):
    amount: int


class LotDomain(Domain):
    """A topic that every user may watch, and whose key names its lot."""

    topics = (Topic("lot", events=[Bid], may_watch=lambda user, key: True),)


@pytest_asyncio.fixture
async def auction(settings: JobsSettings) -> AsyncIterator[InLoopServer]:
    """The service with a domain of lots beside its own."""
    async with in_loop(settings, create_app(settings, more=(LotDomain(),))) as server:
        yield server


async def bid(server: InLoopServer, stream: str, *amounts: int) -> None:
    async with server.engine.database.transaction() as session:
        bids = [Bid(amount=amount) for amount in amounts]
        await server.engine.journal.append(session, Stream.parse(stream), *bids)


class TestOfTwoStreams:
    async def test_each_stream_has_a_capture_with_its_own_events(self, auction: InLoopServer) -> None:
        await bid(auction, "lot:1", 10, 20)
        await bid(auction, "lot:2", 30)

        async with JobsContext(auction, watch=["lot:1", "lot:2"]) as ada:
            one, two = ada.captures["lot:1"], ada.captures["lot:2"]
            await ada.wait_until(lambda: (one.cursor, two.cursor) == (2, 1), "all three bids")

            assert [event.payload["amount"] for event in one.events] == [10, 20]
            assert [event.payload["amount"] for event in two.events] == [30]
            assert ada.capture is one
            for capture in (one, two):
                capture.assert_unbroken()
                capture.assert_nothing_foreign()

    async def test_each_replay_ends_with_a_live_of_its_stream(self, auction: InLoopServer) -> None:
        await bid(auction, "lot:1", 10, 20)

        async with JobsContext(auction, watch=["lot:1", "lot:2"]) as ada:
            one, two = ada.captures["lot:1"], ada.captures["lot:2"]
            await ada.wait_until(lambda: None not in {one.live_at, two.live_at}, "both lives")

            assert (one.live_at, two.live_at) == (2, 0)

    @pytest.mark.parametrize("joined", [False, True], ids=["single", "joined"])
    async def test_a_reconnection_resumes_both_cursors(self, auction: InLoopServer, joined: bool) -> None:
        async with JobsContext(auction, watch=["lot:1", "lot:2"], joined=joined) as ada:
            one, two = ada.captures["lot:1"], ada.captures["lot:2"]
            await bid(auction, "lot:1", 10, 20)
            await bid(auction, "lot:2", 30)
            await ada.wait_until(lambda: (one.cursor, two.cursor) == (2, 1), "the first bids")
            await ada.disconnect()
            await bid(auction, "lot:1", 40)
            await bid(auction, "lot:2", 50, 60)

            await ada.connect()
            await ada.wait_until(lambda: (one.cursor, two.cursor) == (3, 3), "the bids made meanwhile")

            assert [event.payload["amount"] for event in one.events] == [10, 20, 40]
            assert [event.payload["amount"] for event in two.events] == [30, 50, 60]
            for capture in (one, two):
                capture.assert_unbroken()

    async def test_a_stream_without_events_resumes_where_it_began(self, auction: InLoopServer) -> None:
        await bid(auction, "lot:1", 10)
        await bid(auction, "lot:2", 20)

        async with JobsContext(auction, watch=["lot:1", "lot:2"], after=None) as ada:
            one, two = ada.captures["lot:1"], ada.captures["lot:2"]
            await bid(auction, "lot:1", 30)
            await ada.wait_until(lambda: one.cursor == 2, "the bid on one lot")
            await ada.disconnect()
            await bid(auction, "lot:2", 40)

            await ada.connect()
            await ada.wait_until(lambda: two.cursor == 2, "the bid made meanwhile")

            assert [event.payload["amount"] for event in two.events] == [40]
            for capture in (one, two):
                capture.assert_unbroken()

    async def test_own_stream_and_another_share_a_connection(self, auction: InLoopServer) -> None:
        user = TestUserContext.of(auction.settings)
        own = str(user_stream(user.id))

        async with JobsContext(auction, user, watch=[own, "lot:1"]) as ada:
            await bid(auction, "lot:1", 10)
            job = await ada.do("hello")
            await ada.wait_until(lambda: ada.captures["lot:1"].cursor == 1, "the bid")

            ada.captures[own].assert_kinds(job.id, THE_FIVE)
            assert ada.performance().connections == 1


class TestWithALiar:
    @pytest.mark.parametrize(
        ("lines", "faults"),
        [
            ([text(seq, event_type) for seq, event_type in run_of(STARTED, ENDED)], ()),
            ([text(1, STARTED), text(3, ENDED)], ("missing",)),
            ([text(1, STARTED), text(2, THOUGHT), text(2, THOUGHT), text(3, ENDED)], ("extra",)),
            ([text(1, STARTED), text(3, THOUGHT), text(2, THOUGHT), text(4, ENDED)], ("order",)),
            ([text(1, STARTED), text(2, DONE), text(3, ENDED)], ("order",)),
            ([text(1, BEGUN), text(2, ENDED)], ("order",)),
            ([text(1, STARTED), "noise", text(2, ENDED)], ("extra",)),
            ([text(1, STARTED, stream=EVE), text(2, ENDED, stream=EVE)], ("extra",)),
        ],
        ids=["truth", "dropped", "doubled", "swapped", "ungrammatical", "beginningless", "noise", "another's"],
    )  # fmt: skip
    async def test_a_lie_is_found_out(self, plain: EngineSettings, lines: list[str], faults: tuple[str, ...]) -> None:
        async with liar(plain, lines) as server, JobsContext(server, ada_of(plain)) as ada:
            await ada.wait_until(
                lambda: len(ada.capture.events) + len(ada.capture.malformed) == len(lines), "the lines"
            )

            verdict = ada.validate()
            ada.capture.loses_on_purpose = True

        assert tuple(fault for fault in ("missing", "extra", "order") if getattr(verdict, fault)) == faults
        assert verdict.valid == (not faults)

    async def test_a_server_that_repeats_what_was_seen_after_a_reconnection_is_found_out(
        self, plain: EngineSettings
    ) -> None:
        def lines(connection: int) -> list[str]:
            return [text(seq, THOUGHT) for seq in range(1, 4 + connection)]

        async with liar(plain, lines) as server, JobsContext(server, ada_of(plain)) as ada:
            await ada.wait_for_seq(4)
            await ada.connect()
            await ada.wait_for_seq(5)

            assert [hello["watch"] for hello in server.hellos] == [{ADA: 0}, {ADA: 4}]
            assert [event.seq for event in ada.capture.duplicates] == [1, 2, 3, 4]

    async def test_both_cursors_are_sent_on_a_reconnection(self, plain: EngineSettings) -> None:
        def lines(connection: int) -> list[str]:
            first = [text(1, STARTED, stream=ADA), text(1, STARTED, stream=EVE), text(2, THOUGHT, stream=EVE)]
            return first if connection == 1 else [text(3, ENDED, stream=EVE)]

        async with liar(plain, lines) as server, JobsContext(server, ada_of(plain), watch=[ADA, EVE]) as ada:
            await ada.wait_until(lambda: ada.captures[EVE].cursor == 2, "the events of the first connection")
            await ada.connect()
            await ada.wait_until(lambda: ada.captures[EVE].cursor == 3, "the event of the second")

            assert [hello["watch"] for hello in server.hellos] == [{ADA: 0, EVE: 0}, {ADA: 1, EVE: 2}]
            assert [event.seq for event in ada.captures[EVE].events] == [1, 2, 3]

    @pytest.mark.parametrize("line", ["noise", "[]", '{"stream": ["lot:1"], "seq": 1}'])
    async def test_noise_between_two_streams_is_malformed(self, plain: EngineSettings, line: str) -> None:
        lines = [line, text(1, STARTED, stream=EVE)]

        async with liar(plain, lines) as server, JobsContext(server, ada_of(plain), watch=[ADA, EVE]) as ada:
            await ada.wait_until(lambda: ada.captures[EVE].cursor == 1, "the event after the noise")

            assert [fault.text for fault in ada.capture.malformed] == [line]

    async def test_an_event_of_an_unwatched_stream_is_foreign(self, plain: EngineSettings) -> None:
        lines = [text(1, STARTED, stream="lot:9")]

        async with liar(plain, lines) as server, JobsContext(server, ada_of(plain), watch=[ADA, EVE]) as ada:
            await ada.wait_until(lambda: bool(ada.capture.events), "the event")

            assert [event.stream for event in ada.capture.foreign] == ["lot:9"]

    async def test_silence_is_reported_within_the_deadline(self, plain: EngineSettings) -> None:
        async with liar(plain, greeting=None) as server:
            ada = JobsContext(server)
            with pytest.raises(AssertionError, match=r"the server's hello was awaited for 0\.05 s in vain"):
                await ada.connect(deadline=SOON)
            await ada.close()

    async def test_a_server_that_says_something_else_than_hello_is_not_ours(self, plain: EngineSettings) -> None:
        async with liar(plain, greeting='{"type": "welcome"}') as server:
            with pytest.raises(AssertionError, match=r"had to begin with a hello, but it said \{'type': 'welcome'\}"):
                async with JobsContext(server):
                    pass

    async def test_what_came_before_a_close_is_told_with_it(self, plain: EngineSettings) -> None:
        async with liar(plain, [text(1, STARTED)], close=(4008, "too slow")) as server, JobsContext(server) as ada:
            with pytest.raises(SocketClosed) as told:
                await ada.wait_for_end("run")

        assert str(told.value) == (
            "the socket was closed with 4008 (too slow) while the last event of run was awaited; "
            "what came: ['1 job_started']"
        )

    async def test_a_server_that_takes_no_sockets_is_told_with_its_answer(self, plain: EngineSettings) -> None:
        async with liar(plain, refuse=HTTPStatus.SERVICE_UNAVAILABLE) as server:
            with pytest.raises(NoServer, match=r"takes no sockets: it answered 503\nnot today"):
                async with JobsContext(server):
                    pass

    async def test_where_there_is_no_server_it_fails_and_says_so(self, plain: EngineSettings) -> None:
        async with liar(plain) as gone:
            pass

        with pytest.raises(
            NoServer, match=r"there is no server at ws://127\.0\.0\.1:\d+/ws: .*ask for the `server` fixture"
        ):
            async with JobsContext(gone):
                pytest.fail("somebody answered")  # pragma: no cover

    async def test_what_is_said_goes_over_the_wire_as_it_is(self, ada: JobsContext) -> None:
        await ada.send({"type": "ping"})
        await ada.send('{"type":"ping","more":"\u00fcn\u00ef"}')
        await ada.wait_until(lambda: len(ada.capture.said) == 2, "two pongs")

        assert ada.capture.said == [{"type": "pong"}] * 2
