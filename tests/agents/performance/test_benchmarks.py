"""No operation of the service has become 1.5 times as slow as the recorded baseline.

The baseline belongs to this project and this machine. Without one, the first run records it, and the file is to be committed.
"""

from __future__ import annotations

import pytest

from test_framework import CHECKOUT
from test_framework.fixtures import MakeSettings
from test_framework.speed import LOOKS, ratios, record, slower_in_looks, stored
from tests.agents.performance.speed import BASELINE, MEASURED_BY, bench

PLENTY = 10_000_000
AGAIN = "nox -s performance -- tests/agents/performance/test_benchmarks.py::test_no_operation_has_become_slower"


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


@pytest.mark.timeout(300)
async def test_no_operation_has_become_slower(make_settings: MakeSettings, capsys: pytest.CaptureFixture[str]) -> None:
    baseline = stored(BASELINE)
    async with bench(make_settings(requests_per_minute=PLENTY)) as bench_:
        if baseline is None:
            baseline = record(BASELINE, [ratios(await bench_.look(), MEASURED_BY) for _ in range(LOOKS)])
            with capsys.disabled():
                print(f"\nrecorded {BASELINE.relative_to(CHECKOUT).as_posix()}, as there was no baseline: commit it")

        found = await slower_in_looks(bench_.look, baseline, MEASURED_BY)

    assert not found, advice(found)
