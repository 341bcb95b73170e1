"""The service is as fast as it was, and a service that is three times as slow is found out.

Where a change is meant to cost something, record the baseline again:
`RECORD_BASELINE=1 pytest --mode=performance tests/performance/test_benchmarks.py`.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

import pytest

from app.api.gate import Gate
from app.events.redis_bus import RedisBus
from test_framework.fixtures import MakeSettings
from tests.performance.speed import BASELINE, FACTOR, MEASURED_BY, Bench, Ratios, bench, ratios, slower

pytestmark = pytest.mark.timeout(90)

LOOKS = 5
RECORD = "RECORD_BASELINE"
SLOWDOWN = 3
PLENTY = 10_000_000


async def look_until_as_fast(bench: Bench, baseline: Ratios) -> list[str]:
    """Look again as long as something seems slower: a machine that is busy with something else is so for a moment."""
    looks: list[Ratios] = []
    while len(looks) < LOOKS and (not looks or slower(baseline, looks)):
        looks.append(ratios(await bench.look()))
        print(f"\nratios: {json.dumps(looks[-1])}")
    return slower(baseline, looks)


async def test_nothing_has_become_much_slower(make_settings: MakeSettings) -> None:
    async with bench(make_settings(requests_per_minute=PLENTY)) as bench_:
        if os.environ.get(RECORD):
            looks = [ratios(await bench_.look()) for _ in range(LOOKS)]
            baseline = {name: round(median(look[name] for look in looks), 2) for name in MEASURED_BY}
            BASELINE.write_text(json.dumps(baseline, indent=2) + "\n")
            print(f"\nrecorded: {baseline}")

        found = await look_until_as_fast(bench_, json.loads(BASELINE.read_text()))

    assert not found, "\n".join([*found, f"if that is meant: {RECORD}=1 pytest --mode=integration {__name__}"])


Call = Callable[..., Awaitable[Any]]


def slowed(call: Call, seconds: float) -> Call:
    """Have a call wait for so long, as a thoughtless change would."""

    async def slow(*arguments: Any) -> Any:
        await asyncio.sleep(seconds)
        return await call(*arguments)

    return slow


@pytest.mark.parametrize(
    ("place", "method", "hurts"),
    [
        pytest.param(Gate, "__call__", "GET /health/live", id="every request"),
        pytest.param(RedisBus, "publish", "from commit to socket", id="every event"),
    ],
)
async def test_a_planted_slowdown_is_found(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, place: type, method: str, hurts: str
) -> None:
    async with bench(make_settings(requests_per_minute=PLENTY)) as bench_:
        times = await bench_.look()
        monkeypatch.setattr(place, method, slowed(getattr(place, method), times[hurts] * (SLOWDOWN - 1)))

        found = await look_until_as_fast(bench_, ratios(times))

    assert any(line.startswith(hurts) for line in found), f"{SLOWDOWN} times as slow went unnoticed: {found}"


def test_what_is_slower_is_slower_in_every_look() -> None:
    once = dict.fromkeys(MEASURED_BY, 1.0)
    slow = {**once, "GET /api/runs": FACTOR * 1.1}

    assert slower(once, [slow, once]) == []
    assert [line.split(" takes ")[0] for line in slower(once, [slow, slow])] == ["GET /api/runs"]
