"""Servers, audiences and a publisher, each a process of its own: what fan-out is measured with.

The server under test has one core for itself; Redis, the audience and the publisher share the other.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from time import perf_counter
from typing import cast

import psutil

from benchmarks.contenders import Contender
from benchmarks.peers import USER

START_SECONDS = 20.0
CONNECT_SECONDS = 60.0
ANSWER_SECONDS = 40.0
SETTLE_SECONDS = 0.5
END_SECONDS = 10.0
LEAST_WORK_SECONDS = 0.5
SERVER_CORE, OTHER_CORE = 0, 1


class Publisher:
    """Sends events to Redis in one go, made beforehand, so that it is never what is waited for."""

    def __init__(self, redis_url: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(redis_url.removeprefix("unix://").partition("?")[0])

    def publish(self, messages: Sequence[tuple[str, bytes]]) -> float:
        """Publish, and return the moment at which that began."""
        words = [(b"PUBLISH", channel.encode(), data) for channel, data in messages]
        commands = b"".join(
            b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in command) for command in words
        )
        began = perf_counter()
        self._socket.sendall(commands)
        answered = 0
        while answered < len(messages):
            answered += self._socket.recv(65536).count(b"\n")
        return began


class Audience:
    """Many sockets on one server, and the events that they are sent; `reach` is how many of them get an event."""

    def __init__(
        self,
        contender: Contender,
        server: psutil.Process,
        process: asyncio.subprocess.Process,
        publisher: Publisher,
        user: str,
        reach: int,
    ) -> None:
        self._contender = contender
        self._server = server
        self._process = process
        self._publisher = publisher
        self._user = user
        self._number = 0
        self._reach = reach
        self.seconds_to_enter = 0.0

    async def burst(self, events: int) -> float:
        """Publish events all at once; deliveries per second until everybody has all of them."""
        began = self._publisher.publish(self.messages(events))
        return self._reach * events / (await self.arrived(events) - began)

    async def one_by_one(self, events: int) -> float:
        """Publish each event when everybody has the one before: nothing can be joined; deliveries per second."""
        seconds = 0.0
        for _ in range(events):
            seconds -= self._publisher.publish(self.messages(1))
            seconds += await self.arrived(1)
        return self._reach * events / seconds

    async def work(self, together: int = 1) -> float:
        """Deliveries per second of the server's processor: what is left for other processes does not count.

        Some events are published at once, and the next ones when all sockets have those. It goes on for as long as it
        takes the server to work half a second, because the system counts a process's work in hundredths.
        """
        began, events = processor_seconds(self._server), 0
        while (worked := processor_seconds(self._server) - began) < LEAST_WORK_SECONDS:
            self._publisher.publish(self.messages(together))
            await self.arrived(together)
            events += together
        return self._reach * events / worked

    def messages(self, events: int) -> list[tuple[str, bytes]]:
        self._number += events
        numbers = range(self._number - events + 1, self._number + 1)
        return [self._contender.message(self._user, number) for number in numbers]

    async def arrived(self, events: int) -> float:
        """The moment at which everybody has got so many more events."""
        moment = await self._ask(f"count {events * self._reach}")
        if moment is None:
            raise TimeoutError(f"{self._contender.name}: {events} events did not reach {self._reach} sockets each")
        return cast("float", moment)

    async def moments(self) -> list[float]:
        """When each delivery since the last question came."""
        return cast("list[float]", await self._ask("times"))

    async def _ask(self, question: str) -> object:
        cast("asyncio.StreamWriter", self._process.stdin).write(f"{question}\n".encode())
        return json.loads(await line(self._process, f"the audience's answer to {question}", ANSWER_SECONDS))


class Stage:
    """One server under test."""

    def __init__(self, contender: Contender, redis_url: str, port: int, process: asyncio.subprocess.Process) -> None:
        self._contender = contender
        self._redis_url = redis_url
        self._port = port
        self._server = psutil.Process(process.pid)

    @asynccontextmanager
    async def audience(self, sockets: int, user: str = USER, *, warm_up: bool = True) -> AsyncIterator[Audience]:
        crowd = self._contender.crowd(self._port, sockets, user)
        process = await python("-m", "benchmarks.crowd", core=OTHER_CORE)
        try:
            began = perf_counter()
            cast("asyncio.StreamWriter", process.stdin).write(f"{crowd.packed()}\n".encode())
            await line(process, f"{sockets} sockets on {self._contender.name}", CONNECT_SECONDS)
            reach = sockets if crowd.reach is None else crowd.reach
            audience = Audience(self._contender, self._server, process, Publisher(self._redis_url), user, reach)
            audience.seconds_to_enter = perf_counter() - began
            await asyncio.sleep(SETTLE_SECONDS)  # broadcaster does not say when a socket is subscribed
            if warm_up:
                await audience.burst(1)
            yield audience
        finally:
            await end(process)

    @property
    def megabytes(self) -> float:
        """What the server holds in memory."""
        return self._server.memory_info().rss / 1e6

    @property
    def processor_seconds(self) -> float:
        """How long the server has worked."""
        return processor_seconds(self._server)


@asynccontextmanager
async def stage(contender: Contender, redis_url: str) -> AsyncIterator[Stage]:
    """Start a server, and end it with the block."""
    port = free_port()
    command, environment = contender.command(port)
    process = await python(*command, core=SERVER_CORE, environment=environment)
    try:
        await listening(port, contender.name)
        yield Stage(contender, redis_url, port, process)
    finally:
        await end(process)


async def python(
    *arguments: str, core: int, environment: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Start Python on a core, able to hold many sockets."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env={**os.environ, **(environment or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 26,
    )
    pin(core, process.pid)
    return process


def processor_seconds(process: psutil.Process) -> float:
    taken = process.cpu_times()
    return taken.user + taken.system


def pin(core: int, pid: int = 0) -> None:
    """Give a process one core, where there are several and the system knows how."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(pid, {core})


def raise_limits() -> None:
    """Let this process, and those it starts, hold as many sockets as the system allows."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def line(process: asyncio.subprocess.Process, awaited: str, seconds: float) -> str:
    """What a process says next."""
    try:
        async with asyncio.timeout(seconds):
            said = await cast("asyncio.StreamReader", process.stdout).readline()
    except TimeoutError:
        raise TimeoutError(f"{awaited}: nothing came within {seconds:g} s") from None
    if not said:
        raise RuntimeError(f"{awaited}: the process ended with {await process.wait()}, see above")
    return said.decode()


async def end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()


async def listening(port: int, name: str) -> None:
    """Wait until a server answers anything but "not yet"."""
    if not await asyncio.to_thread(_answers, port):
        raise TimeoutError(f"{name} did not answer on port {port} within {START_SECONDS:g} s")


def _answers(port: int) -> bool:
    deadline = perf_counter() + START_SECONDS
    while perf_counter() < deadline:
        with suppress(OSError, HTTPException):
            connection = HTTPConnection("127.0.0.1", port, timeout=1)
            connection.request("GET", "/health/ready")
            if connection.getresponse().status != HTTPStatus.SERVICE_UNAVAILABLE:
                return True
        time.sleep(0.02)
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
