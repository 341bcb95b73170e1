"""How fast a service is, as ratios: its times divided by those of something plain, on the same machine at the same time.

Each round measures everything once, so that other load on the machine slows all of it; a look is the medians of many rounds.
An operation is slower when the median of several looks exceeds its baseline by more than the limit.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Self
from urllib.parse import urlsplit

LIMIT = 1.5
LOOKS = 5
DEADLINE_SECONDS = 10.0

Ratios = Mapping[str, float]
Times = Mapping[str, float]
MeasuredBy = Mapping[str, str]
"""What each operation is compared with."""


class HttpLine:
    """A connection that is kept open and says HTTP with as little ado as possible, so that the server is what takes the time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        self._reader, self._writer, self._head = reader, writer, head

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, token: str = "") -> AsyncIterator[Self]:
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            yield cls(reader, writer, f"Host: {address.netloc}\r\nAuthorization: Bearer {token}\r\n")
        finally:
            writer.close()
            await writer.wait_closed()

    async def ask(self, request: str, body: str = "") -> bytes:
        """Send a request, and return the body of its answer."""
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        async with asyncio.timeout(DEADLINE_SECONDS):
            self._writer.write(f"{request} HTTP/1.1\r\n{self._head}{length}\r\n{body}".encode())
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 20"), head
            return await self._reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))


async def timed(call: Callable[[], Awaitable[object]]) -> float:
    """Call, and say how many seconds it took."""
    began = time.perf_counter()
    await call()
    return time.perf_counter() - began


def ratios(times: Times, measured_by: MeasuredBy) -> Ratios:
    """Say what takes how many times as long as the plain thing that it is measured by."""
    return {name: round(times[name] / times[plain], 3) for name, plain in measured_by.items()}


def slower(baseline: Ratios, looks: Sequence[Ratios], measured_by: MeasuredBy) -> list[str]:
    """Name what takes more than `LIMIT` times as long as its baseline, by the median of the looks."""
    found = []
    for name, was in baseline.items():
        now = median(look[name] for look in looks)
        if now > was * LIMIT:
            found.append(f"{name} takes {now:.2f} times as long as {measured_by[name]}; the baseline is {was:.2f}")
    return found


async def slower_in_looks(look: Callable[[], Awaitable[Times]], baseline: Ratios, measured_by: MeasuredBy) -> list[str]:
    """Look up to five times, and stop as soon as the median of the looks is within the limit."""
    looks: list[Ratios] = []
    while len(looks) < LOOKS and (not looks or slower(baseline, looks, measured_by)):
        looks.append(ratios(await look(), measured_by))
        print(f"\nratios: {json.dumps(looks[-1])}")
    return slower(baseline, looks, measured_by)


def median_of(looks: Sequence[Ratios]) -> Ratios:
    """Return the median of each ratio."""
    return {name: round(median(look[name] for look in looks), 2) for name in looks[0]}


def stored(file: Path) -> Ratios | None:
    """Read the baseline, if there is one."""
    found: Ratios | None = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    return found


def record(file: Path, looks: Sequence[Ratios]) -> Ratios:
    """Write the medians of some looks as the baseline."""
    measured = median_of(looks)
    file.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    return measured
