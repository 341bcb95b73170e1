"""No operation of the service has become 1.5 times as slow as the recorded baseline.

The baseline belongs to this project and this machine. Without one, the first run records it, and the file is to be committed.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from commitstream.bus.redis import RedisBus
from commitstream.service.request_context import RequestContextMiddleware
from test_framework import CHECKOUT
from test_framework.fixtures import MakeSettings
from tests.agents.performance.speed import BASELINE, LIMIT, MEASURED_BY, Bench, Ratios, bench, median_of, ratios, slower

pytestmark = pytest.mark.timeout(300)

LOOKS = 5
PLENTY = 10_000_000
AGAIN = "nox -s performance -- tests/agents/performance/test_benchmarks.py::test_no_operation_has_become_slower"


async def look_until_as_fast(bench: Bench, baseline: Ratios) -> list[str]:
    """Look up to five times, and stop as soon as the median of the looks is within the limit."""
    looks: list[Ratios] = []
    while len(looks) < LOOKS and (not looks or slower(baseline, looks)):
        looks.append(ratios(await bench.look()))
        print(f"\nratios: {json.dumps(looks[-1])}")
    return slower(baseline, looks)


def stored(file: Path) -> Ratios | None:
    """Read the baseline, if there is one."""
    ratios: Ratios | None = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    return ratios


def record(file: Path, looks: Sequence[Ratios]) -> Ratios:
    """Write the medians of some looks as the baseline."""
    measured = median_of(looks)
    file.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    return measured


def advice(found: list[str]) -> str:
    """Say what became slower, and the two ways on."""
    file = BASELINE.relative_to(CHECKOUT).as_posix()
    return "\n".join(
        (
            *found,
            f"Measure again: {AGAIN}",
            f"If it is meant, delete {file}, repeat that command, and commit the new file.",
        )
    )


async def test_no_operation_has_become_slower(make_settings: MakeSettings, capsys: pytest.CaptureFixture[str]) -> None:
    baseline = stored(BASELINE)
    async with bench(make_settings(requests_per_minute=PLENTY)) as bench_:
        if baseline is None:
            baseline = record(BASELINE, [ratios(await bench_.look()) for _ in range(LOOKS)])
            with capsys.disabled():
                print(f"\nrecorded {BASELINE.relative_to(CHECKOUT).as_posix()}, as there was no baseline: commit it")

        found = await look_until_as_fast(bench_, baseline)

    assert not found, advice(found)


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

        found = await look_until_as_fast(bench_, median_of([ratios(look) for look in times]))

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

    assert slower(once, [slowest, once, once]) == []
    assert slower(once, [{**once, "GET /api/runs": LIMIT}]) == []
    assert [line.split(" takes ")[0] for line in slower(once, [slow, once, slowest])] == ["GET /api/runs"]


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
        test_no_operation_has_become_slower.__name__
    ]
