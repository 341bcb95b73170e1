"""However many users there are at once, and however alike their names: nobody is shown an event of another."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from commitstream.settings import CONNECTIONS
from commitstream.tests.jobs.client import ENDED, STARTED, STEP, THE_FIVE, THOUGHT, JobsContext, isolated_users
from commitstream.tests.jobs.conftest import MakeJobsSettings, ServeJobs
from commitstream.transports.protocol import CloseCode
from test_framework.backend_client import UnexpectedAnswer
from test_framework.running.telling import tell_isolation
from test_framework.servers import Server
from test_framework.users import TestUserContext
from test_framework.websocket.line import SocketClosed

PATIENCE_SECONDS = 25.0

Matrix = Mapping[str, Counter[str]]


def matrix_of(users: Sequence[JobsContext]) -> Matrix:
    """How many events of whose streams each user was shown."""
    owners = {user.capture.stream: user.user.id for user in users}
    matrix = {
        user.user.id: Counter(owners.get(event.stream, "nobody") for event in user.capture.events) for user in users
    }
    tell_isolation(list(matrix), [[shown[owner] for owner in matrix] for shown in matrix.values()])
    return matrix


def assert_diagonal(matrix: Matrix, each: Mapping[str, int]) -> None:
    """Everybody was shown all of their own, and nothing else."""
    wrong = [f"{reader} was shown {dict(shown)}" for reader, shown in matrix.items() if shown != {reader: each[reader]}]
    if wrong:
        raise AssertionError(
            "\n".join([f"{len(wrong)} of {len(matrix)} users were not shown just their own:", *wrong[:20]])
        )


async def test_ten_users_at_once_with_jobs_of_every_length(shared_server: Server) -> None:
    async with isolated_users(shared_server, 10) as users:
        jobs = await asyncio.gather(*(user.do("!think mine\n" * (number + 1)) for number, user in enumerate(users)))

        assert_diagonal(matrix_of(users), {user.user.id: number + 3 for number, user in enumerate(users)})
        for number, (user, job) in enumerate(zip(users, jobs, strict=True)):
            assert user.validate([STARTED, *[THOUGHT] * (number + 1), ENDED]).valid
            assert await user.client.events(job.id) == user.capture.events


@pytest.mark.timeout(90)
@pytest.mark.needs("many_files")
async def test_fifty_users_at_once_who_come_and_go_in_the_middle(shared_server: Server) -> None:
    chance = random.Random(50)
    async with isolated_users(shared_server, 50) as users:

        async def work(user: JobsContext) -> None:
            user.drop_after(chance.randint(0, 4))
            job = await user.start("how many words are these")
            await user.wait_for_close(PATIENCE_SECONDS)
            await user.connect(deadline=PATIENCE_SECONDS)
            await user.wait_for_end(job.id, PATIENCE_SECONDS)

        await asyncio.gather(*(work(user) for user in users))

        assert_diagonal(matrix_of(users), {user.user.id: len(THE_FIVE) for user in users})
        for user in users:
            verdict = user.validate(THE_FIVE)
            assert verdict.valid, verdict


@pytest.mark.timeout(90)
@pytest.mark.needs("many_files")
async def test_two_hundred_users_at_once(serve: ServeJobs, make_settings: MakeJobsSettings) -> None:
    """With as many connections as in production, and as many who write at a time: a job that waits for one is not safe to repeat."""
    writing = asyncio.Semaphore(CONNECTIONS)
    async with (
        serve(make_settings(database_pool_size=CONNECTIONS)) as server,
        isolated_users(server, 200) as users,
    ):

        async def work(user: JobsContext) -> None:
            """Come back where the service says that it is too busy just now, as its clients do."""
            async with writing:
                job = await user.start("!step")
            while True:
                try:
                    return await user.wait_for_end(job.id, PATIENCE_SECONDS)
                except SocketClosed as sent_away:
                    if sent_away.code != CloseCode.TRY_LATER:
                        raise
                await user.connect(deadline=PATIENCE_SECONDS)

        await asyncio.gather(*(work(user) for user in users))

        assert_diagonal(matrix_of(users), {user.user.id: 4 for user in users})
        for user in users:
            verdict = user.validate([STARTED, *STEP, ENDED])
            assert verdict.valid, verdict


def test_a_matrix_with_one_event_beside_the_diagonal_is_found() -> None:
    matrix = {"ada": Counter(ada=5), "bob": Counter(bob=5, ada=1)}

    with pytest.raises(AssertionError, match=r"1 of 2 users .*\nbob was shown \{'bob': 5, 'ada': 1\}"):
        assert_diagonal(matrix, {"ada": 5, "bob": 5})


def test_a_matrix_that_lacks_an_event_on_the_diagonal_is_found() -> None:
    with pytest.raises(AssertionError, match=r"ada was shown \{'ada': 4\}"):
        assert_diagonal({"ada": Counter(ada=4), "bob": Counter(bob=5)}, {"ada": 5, "bob": 5})


ALIKE = {
    "by case": ("ada-{}", "ADA-{}"),
    "by one that the other begins with": ("ada-{}", "ada-{}-2"),
    "by a pattern that fits the other": ("ada-{}-*", "ada-{}-1"),
    "by a character that fits any": ("ad?-{}", "ada-{}"),
    "by a set that fits the other": ("ad[a]-{}", "ada-{}"),
    "by the separator of channels": ("ada-{}", "user:ada-{}"),
    "by the wildcards of SQL": ("ad_-{}%", "ada-{}%"),
    "by composition": ("\u00e9-{}", "e\u0301-{}"),
    "by folding": ("stra\u00dfe-{}", "strasse-{}"),
    "by white space": ("ada {}", "ada  {}"),
    "by quotes": ("ada'{}", "ada''{}"),
    "by script": ("ada-{}", "\u0430da-{}"),
}


@pytest.mark.parametrize(("one", "other"), ALIKE.values(), ids=ALIKE)
async def test_users_whose_names_are_alike_are_two(shared_server: Server, one: str, other: str) -> None:
    own = secrets.token_hex(4)
    first, second = (TestUserContext(shared_server.settings, name.format(own)) for name in (one, other))

    async with JobsContext(shared_server, first) as ada, JobsContext(shared_server, second) as ida:
        jobs = await asyncio.gather(ada.do("hello"), ida.do("hello"))
        await asyncio.gather(ada.ping(), ida.ping())

        assert_diagonal(matrix_of([ada, ida]), {first.id: 5, second.id: 5})
        for user, own_run, strange in ((ada, jobs[0], jobs[1]), (ida, jobs[1], jobs[0])):
            assert [view.id for view in await user.client.jobs()] == [own_run.id]
            with pytest.raises(UnexpectedAnswer, match="got 404"):
                await user.client.events(strange.id)


async def test_nobody_reads_the_job_of_another_by_any_route(shared_server: Server) -> None:
    async with isolated_users(shared_server, 5) as users:
        jobs = [await user.do("!stall 0") for user in users]

        for reader in users:
            for owner, job in zip(users, jobs, strict=True):
                answers = [
                    (await reader.client.request(method, path)).status_code
                    for method, path in (
                        ("GET", f"/api/jobs/{job.id}"),
                        ("GET", f"/api/jobs/{job.id}/events"),
                    )
                ]
                assert answers == ([200, 200] if reader is owner else [404] * 2)


async def test_the_numbers_of_each_user_begin_at_one_whatever_others_have_written(
    ada: JobsContext, bob: JobsContext
) -> None:
    await asyncio.gather(*(ada.do("hello") for _ in range(3)))
    await bob.do("!stall 0")

    assert [event.seq for event in bob.capture.events] == [1, 2]
    assert [event.seq for event in ada.capture.events] == list(range(1, 16))
