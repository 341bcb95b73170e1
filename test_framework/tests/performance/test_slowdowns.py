"""What became slower is found by the baseline of the example's speed, and what did not is left alone."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from commitstream.bus.redis import RedisBus
from commitstream.service.request_context import RequestContextMiddleware
from test_framework import CHECKOUT
from test_framework.fixtures import MakeSettings
from test_framework.speed import LIMIT, median_of, ratios, record, slower, slower_in_looks, stored
from tests.agents.performance.speed import MEASURED_BY, bench
from tests.agents.performance.test_benchmarks import PLENTY, advice

pytestmark = pytest.mark.timeout(300)


Call = Callable[..., Awaitable[Any]]


def slowed(call: Call, seconds: float) -> Call:
    """Have a call compute for so long before it does its work."""

    async def slow(*arguments: Any) -> Any:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass
        return await call(*arguments)

    return slow


@pytest.mark.parametrize("factor", [1.0, 1.8])
@pytest.mark.parametrize(
    ("place", "method", "hurts"),
    [
        pytest.param(RequestContextMiddleware, "__call__", "GET /health/live", id="every request"),
        pytest.param(RedisBus, "publish", "from commit to socket", id="every event"),
    ],
)
async def test_a_planted_slowdown_is_red_and_its_twin_green(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, place: type, method: str, hurts: str, factor: float
) -> None:
    async with bench(make_settings(requests_per_minute=PLENTY)) as bench_:
        times = [await bench_.look() for _ in range(3)]
        usual = sorted(look[hurts] for look in times)[1]
        monkeypatch.setattr(place, method, slowed(getattr(place, method), usual * (factor - 1)))

        found = await slower_in_looks(
            bench_.look, median_of([ratios(look, MEASURED_BY) for look in times]), MEASURED_BY
        )

    assert any(line.startswith(hurts) for line in found) is (factor > LIMIT), found


def test_a_recorded_baseline_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    looks = [dict.fromkeys(MEASURED_BY, ratio) for ratio in (1.0, 9.0, 2.345)]

    before, recorded = stored(file), record(file, looks)

    assert before is None
    assert recorded == stored(file) == dict.fromkeys(MEASURED_BY, 2.35)


def test_an_operation_is_slower_by_the_median_of_its_looks() -> None:
    once = dict.fromkeys(MEASURED_BY, 1.0)
    slow, slowest = {**once, "GET /api/runs": LIMIT * 1.01}, {**once, "GET /api/runs": 9.0}

    assert slower(once, [slowest, once, once], MEASURED_BY) == []
    assert slower(once, [{**once, "GET /api/runs": LIMIT}], MEASURED_BY) == []
    assert [line.split(" takes ")[0] for line in slower(once, [slow, once, slowest], MEASURED_BY)] == ["GET /api/runs"]


def test_the_printed_command_selects_exactly_that_test() -> None:
    command = re.findall(r"nox -s (.*)", advice(["GET /api/runs takes longer"]))
    mode, _, *selected = shlex.split(command[0])

    collected = subprocess.run(
        [sys.executable, "-m", "pytest", f"--mode={mode}", "--collect-only", "-q", *selected],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert collected.returncode == 0, collected.stdout + collected.stderr
    assert [line.rpartition("::")[2] for line in collected.stdout.splitlines() if "::" in line] == [
        "test_no_operation_has_become_slower"
    ]
