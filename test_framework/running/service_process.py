"""A service as a person or an orchestrator runs it: what it says, how it ends, and when."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

import httpx
import psutil

from test_framework import CHECKOUT
from test_framework.running.hearing import hearing

DEADLINE_SECONDS = 15.0


@dataclass(frozen=True)
class EndedProcess:
    code: int
    seconds: float
    said: str
    complained: str

    def assert_brief(self, *words: str) -> None:
        """One line of complaint that says it all, and no traceback."""
        lines = self.complained.splitlines()
        assert len(lines) == 1, self.complained
        for word in words:
            assert word in lines[0]

    def assert_no_traceback(self) -> None:
        for word in ("Traceback", "Exception", "never retrieved", "was destroyed", "never awaited"):
            assert word not in self.complained, self.complained


def listening(pid: int) -> int | None:
    """The port on which a process listens; None while there is none."""
    sockets = psutil.Process(pid).net_connections("tcp")
    return next((each.laddr.port for each in sockets if each.status == psutil.CONN_LISTEN), None)


class ServiceProcess:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._said = ""

    async def line(self, word: str) -> str:
        """Wait until it says a line with a word in it."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while line := (await self._process.stdout.readline()).decode():
                    self._said += line
                    if word in line:
                        return line
        except TimeoutError:
            pass
        ended = await self.ended(Signals.SIGKILL)
        raise AssertionError(f"it never said {word!r}; it said {self._said!r} and complained {ended.complained!r}")

    async def url(self) -> str:
        return next(word for word in (await self.line("http://")).split() if word.startswith("http://"))

    async def complaint(self, word: str) -> None:
        """Wait until it complains with a word."""
        assert self._process.stderr is not None
        async with asyncio.timeout(DEADLINE_SECONDS):
            while line := (await self._process.stderr.readline()).decode():
                if word in line:
                    return
        raise AssertionError(f"it ended without a complaint of {word!r}")

    async def listens(self) -> None:
        """Wait until it answers, whatever it answers; before it is ready it does not say where, but its sockets do."""
        async with asyncio.timeout(DEADLINE_SECONDS), httpx.AsyncClient(trust_env=False) as client:
            while (port := await asyncio.to_thread(listening, self._process.pid)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            await client.get(f"http://127.0.0.1:{port}/health/live")

    def tell(self, number: Signals) -> None:
        self._process.send_signal(number)

    async def ended(self, number: Signals | None = None) -> EndedProcess:
        """Send a signal if asked, and wait for the end."""
        began = time.monotonic()
        if number is not None:
            with suppress(ProcessLookupError):
                self.tell(number)
        try:
            said, complained = await asyncio.wait_for(self._process.communicate(), DEADLINE_SECONDS)
        except TimeoutError:
            self._process.kill()
            _, complained = await self._process.communicate()
            raise AssertionError(f"it did not end within {DEADLINE_SECONDS:g} s: {complained.decode()}") from None
        seconds = time.monotonic() - began
        assert self._process.returncode is not None
        return EndedProcess(self._process.returncode, seconds, self._said + said.decode(), complained.decode())

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()


@asynccontextmanager
async def run(
    environment: Mapping[str, str], *arguments: str, root: Path = CHECKOUT, module: str = "app"
) -> AsyncIterator[ServiceProcess]:
    """Run a module with these variables and no others; it is gone when the block ends."""
    process = ServiceProcess(
        await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", module, *arguments),
            cwd=root,
            env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", "APP_LOG_LEVEL": "warning", **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=hearing(),
        )
    )
    try:
        yield process
    finally:
        await process.kill()
