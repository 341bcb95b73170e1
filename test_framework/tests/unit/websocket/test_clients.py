"""The factories: what each of them makes behaves as it is called."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from commitstream.service.tokens import InvalidToken, Tokens
from commitstream.settings import EngineSettings
from commitstream.tests.jobs.client import THE_FIVE, JobsContext, dropping, isolated_users, slow_reader, two_sockets
from test_framework.servers import Server
from test_framework.tests.unit.websocket.liar import liar
from test_framework.users import TestUserContext
from test_framework.websocket.line import NoServer


async def test_isolated_users_are_shown_their_own_runs_and_nothing_else(shared_server: Server) -> None:
    async with isolated_users(shared_server, 7) as users:
        jobs = await asyncio.gather(*(user.do("mine") for user in users))

        assert len({user.user.id for user in users}) == 7
        for user, job in zip(users, jobs, strict=True):
            assert user.capture.runs == [job.id]
            assert user.validate(THE_FIVE).valid


async def test_where_one_of_many_can_not_come_none_is_left_behind(plain: EngineSettings) -> None:
    async with liar(plain) as gone:
        pass

    with pytest.raises(ExceptionGroup) as failed:
        async with isolated_users(gone, 3):
            pytest.fail("they came")  # pragma: no cover
    assert failed.group_contains(NoServer)


async def test_two_sockets_of_one_user_are_shown_the_same(shared_server: Server) -> None:
    async with two_sockets(shared_server) as (first, second):
        job = await first.do("hello")
        await second.wait_for_end(job.id)

        second.capture.assert_same_as(first.capture)
        assert second.validate(THE_FIVE).valid


async def test_a_slow_reader_takes_nothing_until_it_reads_on(shared_server: Server) -> None:
    async with (
        slow_reader(shared_server) as slow,
        JobsContext(shared_server, slow.user) as quick,
    ):
        job = await quick.do("!think " + "long " * 40_000)
        assert slow.capture.events == []

        slow.resume_reading()
        await slow.wait_for_end(job.id)

        slow.capture.assert_same_as(quick.capture)


@pytest.mark.parametrize("after", range(6))
async def test_one_that_drops_has_seen_so_much_and_gets_the_rest_when_it_is_back(
    shared_server: Server, after: int
) -> None:
    async with dropping(shared_server, after) as dropped:
        job = await dropped.start("hello")
        await dropped.wait_for_close()
        assert len(dropped.capture.events) == after

        await dropped.connect()
        await dropped.wait_for_end(job.id)

        assert dropped.validate(THE_FIVE).valid


class TestUsers:
    def test_each_is_somebody_else(self, plain: EngineSettings) -> None:
        users = [TestUserContext.of(plain) for _ in range(50)]

        for identity in ("id", "session_id", "thread_id"):
            assert len({getattr(user, identity) for user in users}) == 50

    def test_what_a_test_wants_to_know_of_one_is_kept_with_it(self, plain: EngineSettings) -> None:
        grace = TestUserContext.of(plain, "grace", role="admin", plan="large")

        assert (grace.name, grace.role, grace.metadata) == ("grace", "admin", {"plan": "large"})
        assert grace.id.startswith("grace-")

    def test_its_token_is_real_for_as_long_as_was_asked(self, plain: EngineSettings) -> None:
        ada = TestUserContext.of(plain)

        assert Tokens(plain).user(ada.token).id == ada.id
        left = Tokens(plain).user(ada.token_for(timedelta(minutes=5))).expires - Tokens(plain).user(ada.token).expires
        assert timedelta(hours=-8) < left < timedelta(hours=-7)

    def test_its_expired_and_its_forged_tokens_are_worthless(self, plain: EngineSettings) -> None:
        ada = TestUserContext.of(plain)

        for token, reason in ((ada.expired_token, "expired"), (ada.forged_token, "a key that is not in use here")):
            with pytest.raises(InvalidToken, match=reason):
                Tokens(plain).user(token)

    def test_its_settings_and_so_its_secret_are_never_shown(self, plain: EngineSettings) -> None:
        assert "secret" not in repr(TestUserContext.of(plain))

    def test_every_request_is_of_its_session_and_its_thread_and_none_is_another(self, plain: EngineSettings) -> None:
        ada = TestUserContext.of(plain)

        first, second = ada.traces(), ada.traces()

        assert (first["X-Request-ID"], second["X-Request-ID"]) == (f"{ada.session_id}-1", f"{ada.session_id}-2")
        assert first["traceparent"] != second["traceparent"]
        assert {headers["traceparent"].split("-")[1] for headers in (first, second)} == {ada.thread_id}
