"""Sockets that come, go and stop reading while events are written: each sees all of it, and none troubles another."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from commitstream import hub as hub_module
from commitstream.tests.jobs.application import JobsSettings, JobStarted
from commitstream.tests.jobs.client import JobsContext, slow_reader
from commitstream.tests.jobs.inside import jobs_in_loop
from commitstream.topics import user_stream
from commitstream.transports.direct_write import WRITE_BUFFER_LIMIT
from test_framework.servers import InLoopServer
from test_framework.users import TestUserContext
from test_framework.waiting import becomes

WRITERS = 8
TRANSACTIONS = 15
LARGE = 400_000
LARGE_EVENTS = 30


@pytest_asyncio.fixture
async def server(settings: JobsSettings) -> AsyncIterator[InLoopServer]:
    """The service in this loop, so that a test may write to its journal as a job does."""
    async with jobs_in_loop(settings) as running:
        yield running


async def write(server: InLoopServer, user_id: str, *texts: str) -> None:
    async with server.engine.database.transaction() as session:
        events = (JobStarted(job_id=uuid.uuid4().hex, message=text) for text in texts)
        await server.engine.journal.append(session, user_stream(user_id), *events)


async def keep_writing(server: InLoopServer, user_id: str, number: int) -> None:
    chance = random.Random(number)
    for turn in range(TRANSACTIONS):
        await write(server, user_id, *(f"{number}/{turn}" for _ in range(chance.randint(1, 3))))
        await asyncio.sleep(chance.uniform(0, 0.01))


async def test_there_is_no_seam_between_replay_and_live_while_many_write(server: InLoopServer) -> None:
    ada = TestUserContext.of(server.settings)
    writing = asyncio.gather(*(keep_writing(server, ada.id, number) for number in range(WRITERS)))
    contexts: list[JobsContext] = []
    while not writing.done():
        contexts.append(JobsContext(server, ada, joined=len(contexts) % 2 == 1))
        await contexts[-1].connect()
        await asyncio.wait([writing], timeout=0.03)
    await writing
    head = await server.engine.journal.head(str(user_stream(ada.id)))

    for context in contexts:
        await context.wait_for_seq(head)
        context.capture.assert_unbroken()
        await context.close()
    assert len(contexts) > 2


async def test_a_socket_cut_off_again_and_again_resumes_without_loss_or_repetition(server: InLoopServer) -> None:
    async with JobsContext(server) as ada:
        for number in range(1, 21):
            ada.drop()
            await asyncio.gather(ada.connect(), write(server, ada.user.id, str(number)))
            await ada.wait_for_seq(number)

        ada.capture.assert_unbroken()


async def test_what_a_publisher_took_to_its_grave_is_shown_all_the_same(server: InLoopServer) -> None:
    """A process that dies between its commit and its publishing leaves events that no bus will ever bring."""
    async with JobsContext(server) as ada:
        server.engine.outbox.feed(None)

        job = await ada.do("how many words are these")

        ada.capture.assert_unbroken()
        ada.capture.assert_grammatical(job.id)
        assert server.engine.counters.published == 0


async def test_a_socket_that_does_not_read_is_let_go_and_holds_up_nobody(
    server: InLoopServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "SLOW_SECONDS", 0.3)
    async with JobsContext(server) as ada, slow_reader(server, ada.user):
        for number in range(LARGE_EVENTS):
            await write(server, ada.user.id, str(number % 10) * LARGE)
        await ada.wait_for_seq(LARGE_EVENTS)

        ada.capture.assert_unbroken()
        tally, hub = server.engine.counters, server.engine.hub
        await becomes(lambda: tally.slow_sockets_closed == 1 and hub.watchers == 1, "the stuck socket let go")


async def test_a_replay_puts_no_more_into_a_socket_than_it_takes(server: InLoopServer) -> None:
    ada = TestUserContext.of(server.settings)
    for number in range(LARGE_EVENTS):
        await write(server, ada.id, str(number % 10) * LARGE)

    full = 0

    def holds_a_page() -> bool:
        nonlocal full
        full = max((connection.transport.get_write_buffer_size() for connection in server.connections), default=0)
        return full > WRITE_BUFFER_LIMIT

    async with slow_reader(server, ada):
        await becomes(holds_a_page, "a page in the socket's buffer")
        with pytest.raises(AssertionError, match="in vain"):
            await becomes(lambda: holds_a_page() and full > 4 * LARGE, "more than a page in the socket's buffer", 0.5)
