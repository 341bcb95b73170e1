"""A crowd at work while something breaks, and what is held against the service afterwards.

There are two claims. Most faults must go unnoticed (`work_while`): no request fails, and none is slower, nor any event
later, than a bystander's by more than a little. Without its database the service may turn requests away
(`work_through`), but in good order: in time, as a problem that says when to come back, never with a stack. In either
case health says so meanwhile, and what was committed is shown to every socket once and in order, counted from the database.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit, urlunsplit

import httpx

from commitstream.db.database import CONNECT_SECONDS, STATEMENT_SECONDS
from commitstream.service.health import CHECK_SECONDS
from test_framework.faults.breakable import Breakable, Network
from test_framework.servers import ProcessServer, in_process
from test_framework.waiting import becomes
from tests.agents.client import AgentsClient
from tests.agents.performance.crowd import Answer, Crowd, gathered
from tests.agents.rooms import MODULE

USERS = 10
SHARING = 4  # of these users share a room, so that a fault meets own and shared streams at once
PAUSE = 0.4
CALM_SECONDS = 1.0
SLOWER_SECONDS = 0.25
BEHIND_SECONDS = 1.0
SHOWN_SECONDS = 5.0
ENDED_SECONDS = 5.0
LEASE_SECONDS = 25.0
BACK_SECONDS = 20.0
PROBE_SECONDS = 0.1
FLAP_SECONDS = 0.4
ANSWERED_SECONDS = CONNECT_SECONDS + STATEMENT_SECONDS + 1.0

Breaking = Callable[[], Coroutine[object, object, None]]
in_process_with_rooms = partial(in_process, module=MODULE)


@dataclass(frozen=True)
class Breakables:
    """Everything that a scenario may break."""

    redis: Breakable
    postgres: Breakable
    network: Network


@dataclass(frozen=True)
class Scenario:
    """What breaks, how long users work meanwhile, and the word that health must have said at some time."""

    breaking: Callable[[Breakables], Coroutine[object, object, None]]
    seconds: float
    says: str | None = None


def logged_in_as(url: str, name: str, password: str) -> str:
    """The same server, and this login instead of the one in the address."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{name}:{password}@{parts.netloc.rpartition('@')[2]}"))


async def held(fault: AbstractAsyncContextManager[object], seconds: float) -> None:
    """Have something broken for so long."""
    async with fault:
        await asyncio.sleep(seconds)


async def flapping(fault: Callable[[], AbstractAsyncContextManager[object]], times: int = 4) -> None:
    """Have something break and mend again and again."""
    for _ in range(times):
        await held(fault(), FLAP_SECONDS)
        await asyncio.sleep(FLAP_SECONDS)


@dataclass
class Heard:
    """What processes said of their health when they were asked without pause."""

    ready: Counter[tuple[int, str]] = field(default_factory=Counter)
    live: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0

    async def listen(self, url: str) -> None:
        """Ask until cancelled."""
        async with httpx.AsyncClient(base_url=url, timeout=ANSWERED_SECONDS, trust_env=False) as http:
            while True:
                began = time.monotonic()
                ready = await http.get("/health/ready")
                self.ready[ready.status_code, str(ready.json()["status"])] += 1
                self.live[(await http.get("/health/live")).status_code] += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
                await asyncio.sleep(PROBE_SECONDS)

    def assert_honest(self, says: str | None, *, may_fail: bool) -> None:
        """The loop turned all the time, and the word fell that had to fall."""
        words = {word for _, word in self.ready}
        assert set(self.live) == {200}
        assert set(self.ready) <= {(200, "ready"), (200, "degraded"), *([(503, "failed")] if may_fail else [])}
        assert says is None or says in words, f"health never said {says}, but {dict(self.ready)}"


@asynccontextmanager
async def listening(pair: Sequence[ProcessServer]) -> AsyncIterator[Heard]:
    """Ask all processes how they are, for the length of a block."""
    heard = Heard()
    asking = [asyncio.create_task(heard.listen(server.url), name="ask for health") for server in pair]
    try:
        yield heard
    finally:
        for task in asking:
            task.cancel()
        ended = await asyncio.gather(*asking, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, Exception):
            raise outcome


async def ready_again(pair: Sequence[ProcessServer]) -> float:
    """Wait until every process is ready, and tell how long that took."""
    took = 0.0
    for server in pair:
        async with AgentsClient(server.url) as client:

            async def there(client: AgentsClient = client) -> bool:
                return (await client.ready()).status == "ready"

            took += await becomes(there, "the service ready again", BACK_SECONDS)
    return took


async def work_while(
    crowd: Crowd,
    pair: Sequence[ProcessServer],
    bystander: ProcessServer,
    breaking: Breaking,
    seconds: float,
    says: str | None = None,
) -> None:
    """Work while something breaks that nobody should notice."""
    await crowd.work(CALM_SECONDS, PAUSE)
    async with gathered(crowd.settings, [bystander.url], 2) as others:
        await others.work(CALM_SECONDS / 2, PAUSE / 4)
        async with listening(pair) as heard, asyncio.TaskGroup() as group:
            group.create_task(breaking())
            working = group.create_task(crowd.work(seconds, PAUSE))
            standing_by = group.create_task(others.work(seconds, PAUSE / 4))
        took = await ready_again(pair)
        await crowd.runs_ended(ENDED_SECONDS)
        shown = await crowd.assert_all_shown(SHOWN_SECONDS)
        await others.assert_all_shown(SHOWN_SECONDS)

    # writers of one stream take turns, also where nothing is broken: how quick it is, is asked of the others
    answers = [answer for answer in working.result() if answer.alone]
    beside = standing_by.result()
    wait = max(watch.longest_wait for watch in crowd.watches if watch.stream == watch.user.stream)
    wait_beside = max(watch.longest_wait for watch in others.watches)
    print(
        f"\n{len(crowd.watches)} sockets were shown {shown} events, the latest after {wait:.2f} s; slowest of "
        f"{len(answers)} requests {slowest(answers) * 1000:.0f} ms. A bystander: {wait_beside:.2f} s, "
        f"{slowest(beside) * 1000:.0f} ms of {len(beside)}. Health said {dict(heard.ready)}, ready after {took:.2f} s"
    )
    # on a machine where a bystander waits that long, a question to the database may be late as well
    heard.assert_honest(says, may_fail=slowest(beside) > CHECK_SECONDS / 2)
    assert {answer.status for answer in crowd.answers} == {202}
    assert slowest(answers) <= slowest(beside) + SLOWER_SECONDS
    assert wait <= wait_beside + BEHIND_SECONDS


async def work_through(
    crowd: Crowd, pair: Sequence[ProcessServer], breaking: Breaking, seconds: float, says: str | None = None
) -> None:
    """Work while something breaks that the service can't do without, and go on working after it."""
    await crowd.work(CALM_SECONDS, PAUSE)
    async with listening(pair) as heard, asyncio.TaskGroup() as group:
        group.create_task(breaking())
        working = group.create_task(crowd.work(seconds, PAUSE))
    took = await ready_again(pair)
    after = await crowd.work(CALM_SECONDS, PAUSE)
    await crowd.runs_ended(LEASE_SECONDS)
    shown = await crowd.assert_all_shown(SHOWN_SECONDS)

    meanwhile = Counter(answer.status for answer in working.result())
    print(
        f"\n{len(crowd.watches)} sockets were shown {shown} events; requests were answered {dict(meanwhile)}, the slowest "
        f"after {slowest(crowd.answers):.2f} s. Health said {dict(heard.ready)}, ready after {took:.2f} s"
    )
    heard.assert_honest(says, may_fail=True)
    for server in pair:
        assert "Traceback" not in server.said, server.said
    assert {answer.status for answer in after} == {202}, [server.said[-2000:] for server in pair]
    await assert_answered_in_good_order(crowd)


async def assert_answered_in_good_order(crowd: Crowd) -> None:
    """Every request was answered in time; what was taken is written, what was turned away is told to come back."""
    turned_away = [answer for answer in crowd.answers if answer.status != 202]
    assert {answer.status for answer in turned_away} <= {503}, Counter(answer.status for answer in turned_away)
    assert {(answer.media, answer.come_back) for answer in turned_away} <= {("application/problem+json", "1")}
    assert not any("Traceback" in answer.said for answer in turned_away)
    assert slowest(crowd.answers) < ANSWERED_SECONDS

    written = await crowd.runs_written()
    taken = {answer.run for answer in crowd.answers if answer.status == 202}
    assert taken <= written, f"{len(taken - written)} runs were taken, and are not written"
    assert len(written) <= len(crowd.answers)


def urls(pair: Sequence[ProcessServer]) -> list[str]:
    return [server.url for server in pair]


def slowest(answers: Sequence[Answer]) -> float:
    return max(answer.seconds for answer in answers)
