"""Users who run agents without pause on several processes, watch all of it, come back whenever they are cut off, and count.

Every user watches on every process at once, so that an event must cross from the process that wrote it to the others. Some
may share a room: their runs are written to one stream, and each of them watches it.
Truth is the journal in the database: what a socket was shown must be that, frame by frame.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import httpx
import websockets
from sqlalchemy import func, select
from websockets.asyncio.client import ClientConnection

from app.agents.tables import Run, RunStatus
from commitstream.counters import EventCounters
from commitstream.db.database import Database
from commitstream.journal import Journal
from commitstream.outbox import Outbox
from commitstream.settings import EngineSettings
from commitstream.topics import Topics
from test_framework.users import TestUserContext
from tests.agents.rooms import AgentsInRooms, stream_of

PATIENCE_SECONDS = 5.0
REQUEST_SECONDS = 20.0
COME_BACK_SECONDS = 0.05
MESSAGES = (
    "how many words are these",
    '!think one\n!call count_words {"text": "a b"}\n!stall 0.1\n!think two\n!call current_time {}',
    "!call no_such_tool {}\n!fail as told",
    "!stall 0.3\n!think late",
)


@dataclass(frozen=True)
class Answer:
    """What became of a request; status 0 where nobody was there to answer."""

    began: float
    seconds: float
    status: int
    media: str = ""
    come_back: str = ""
    said: str = ""
    alone: bool = True
    """The user writes to a stream of their own, and waits for no other writer."""

    @property
    def run(self) -> str:
        """The run that was started."""
        return str(json.loads(self.said)["id"])


class Watch:
    """One user's socket, which comes back with its cursor whenever it is closed."""

    def __init__(self, user: TestUserContext, urls: Sequence[str]) -> None:
        self.user = user
        self.stream = str(stream_of(user.id))
        self.frames: list[str] = []
        self.arrivals: list[datetime] = []
        self.closes: Counter[int] = Counter()
        self.connected = asyncio.Event()
        self._urls = itertools.cycle(urls)
        self._socket: ClientConnection | None = None
        self._arrived = asyncio.Event()

    @property
    def cursor(self) -> int:
        return int(json.loads(self.frames[-1])["seq"]) if self.frames else 0

    async def go_on(self) -> None:
        """Watch until cancelled."""
        for url in self._urls:
            with suppress(OSError, websockets.WebSocketException):
                async with websockets.connect(
                    url.replace("http", "ws", 1) + "/ws",
                    open_timeout=PATIENCE_SECONDS,
                    close_timeout=0.2,
                    compression=None,
                    max_queue=None,
                    proxy=None,
                ) as self._socket:
                    await self._watch(self._socket)
            if self._socket is not None:
                self.closes[self._socket.close_code or 0] += 1
            self._socket = None
            await asyncio.sleep(COME_BACK_SECONDS)

    async def _watch(self, socket: ClientConnection) -> None:
        watched = {self.stream: self.cursor}
        await socket.send(json.dumps({"token": self.user.token, "watch": watched}))
        hello = json.loads(await socket.recv())
        assert (hello["type"], hello["streams"]) == ("hello", watched), hello
        self.connected.set()
        async for message in socket:
            if "seq" not in json.loads(message):
                continue
            self.frames.append(str(message))
            self.arrivals.append(datetime.now(UTC))
            self._arrived.set()

    @property
    def longest_wait(self) -> float:
        """How long after it was written the event came that came latest."""
        written = (datetime.fromisoformat(json.loads(frame)["at"]) for frame in self.frames)
        return max((came - at).total_seconds() for at, came in zip(written, self.arrivals, strict=True))

    async def hang_up(self) -> None:
        """Be gone, as a telephone in a tunnel is."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def reach(self, seq: int, deadline: float) -> None:
        try:
            async with asyncio.timeout(deadline):
                while self.cursor < seq:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(
                f"{self.user.id} was shown {self.cursor} of {seq} events of {self.stream} after {deadline:g} s; "
                f"closed by {self.closes}"
            ) from None


@dataclass
class Crowd:
    """Users at work; `urls` is where they post, and may change under way."""

    settings: EngineSettings
    urls: list[str]
    users: list[TestUserContext]
    watches: list[Watch]
    database: Database
    answers: list[Answer] = field(default_factory=list)

    async def work(self, seconds: float, pause: float) -> list[Answer]:
        """Have every user start a run again and again; tell what became of the requests."""
        before = len(self.answers)
        until = time.monotonic() + seconds
        http = httpx.AsyncClient(timeout=REQUEST_SECONDS, trust_env=False)
        async with http, asyncio.TaskGroup() as group:
            for number, user in enumerate(self.users):
                group.create_task(self._post(http, number, user, until, pause))
        return self.answers[before:]

    async def _post(
        self, http: httpx.AsyncClient, number: int, user: TestUserContext, until: float, pause: float
    ) -> None:
        headers = {"Authorization": f"Bearer {user.token}"}
        chance = random.Random(number)
        for turn in itertools.count(number):
            await asyncio.sleep(chance.uniform(0.5, 1.5) * pause)
            if time.monotonic() > until:
                return
            url = self.urls[turn % len(self.urls)]
            alone = "@" not in user.id
            began = time.monotonic()
            message = {"message": MESSAGES[turn % len(MESSAGES)]}
            try:
                response = await http.post(f"{url}/api/runs", json=message, headers=headers)
            except httpx.TransportError:
                self.answers.append(Answer(began, time.monotonic() - began, 0, alone=alone))
                continue
            media, come_back = response.headers.get("content-type", ""), response.headers.get("retry-after", "")
            took = time.monotonic() - began
            self.answers.append(Answer(began, took, response.status_code, media, come_back, response.text, alone))

    def cursors(self) -> list[set[int]]:
        """How far the sockets of each stream have come."""
        streams = dict.fromkeys(watch.stream for watch in self.watches)
        return [{watch.cursor for watch in self.watches if watch.stream == stream} for stream in streams]

    async def runs_ended(self, deadline: float) -> None:
        """Wait until no run is at work any more."""
        until = time.monotonic() + deadline
        while True:
            async with self.database.reading() as session:
                at_work = select(func.count()).select_from(Run).where(Run.status == RunStatus.RUNNING)
                count = await session.scalar(at_work)
            if not count:
                return
            assert time.monotonic() < until, f"{count} runs did not end within {deadline:g} s"
            await asyncio.sleep(0.1)

    async def count_of_runs(self) -> int:
        """How many runs are written down."""
        return len(await self.runs_written())

    async def runs_written(self) -> set[str]:
        """The runs that the database holds."""
        async with self.database.reading() as session:
            return set(await session.scalars(select(Run.id)))

    async def assert_all_shown(self, deadline: float) -> int:
        """Every socket was shown what the journal holds of its stream: each event once, in order, nothing else."""
        journal = Journal(self.database, Outbox(EventCounters()), Topics(AgentsInRooms.topics))
        truths: dict[str, list[str]] = {}
        for stream in {watch.stream for watch in self.watches}:
            found = await journal.after(stream, 0, limit=1_000_000)
            truths[stream] = list(found.frames) if found else []
        for watch in self.watches:
            await watch.reach(len(truths[watch.stream]), deadline)
        await asyncio.sleep(0.3)  # time for what must not come: a duplicate, or somebody else's
        for watch in self.watches:
            assert watch.frames == truths[watch.stream], f"{watch.user.id} was shown something else than is written"
        return sum(len(truth) for truth in truths.values())


@asynccontextmanager
async def gathered(
    settings: EngineSettings, urls: Sequence[str], count: int, watches_each: int = 0, sharing: int = 0
) -> AsyncIterator[Crowd]:
    """Users who are all watching when the block begins, on every process, or on as many as they are told to.

    So many of them share a room, on servers that have rooms.
    """
    users = [TestUserContext.of(settings, f"user{number}") for number in range(count)]
    room = secrets.token_hex(4)
    users[:sharing] = [replace(user, id=f"{user.id}@{room}") for user in users[:sharing]]
    watches = [
        Watch(user, [*urls[place % len(urls) :], *urls[: place % len(urls)]])
        for number, user in enumerate(users)
        for place in range(number, number + (watches_each or len(urls)))
    ]
    database = Database(settings.database_url)
    watching = [asyncio.create_task(watch.go_on(), name="a user watches") for watch in watches]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS * 2):
            for watch in watches:
                await watch.connected.wait()
        yield Crowd(settings, list(urls), users, watches, database)
    finally:
        for task in watching:
            task.cancel()
        await asyncio.wait(watching)
        await database.close()
    for task in watching:
        if not task.cancelled() and (error := task.exception()):
            raise error
