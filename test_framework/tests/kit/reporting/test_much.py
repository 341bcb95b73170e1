"""Ten thousand tests, fifty runs: still computed in seconds, and kept in a file of some megabytes."""

from __future__ import annotations

from pathlib import Path

from test_framework.reporting import sample
from test_framework.reporting.history import FILE, History
from test_framework.reporting.model import to_json
from test_framework.reporting.outcome import Outcome
from test_framework.reporting.summary import summarise
from test_framework.reporting.views import FORMATS

MUCH = sample.Size(10_000, 50)


def test_ten_thousand_tests_in_fifty_runs_are_computed_and_every_view_agrees() -> None:
    report = sample.demo(1, MUCH)

    assert report.counts.collected == len(report.results) == 9_999
    assert {len(cells) for cells in report.matrix.cells} == {50}
    assert sum(result.outcome is Outcome.FAILED for result in report.results) == report.counts.failed
    assert len(FORMATS["markdown"](report).encode()) <= 1_000_000
    assert len(to_json(report)) < 20_000_000


def test_ten_thousand_results_come_out_of_the_history_as_they_went_in(tmp_path: Path) -> None:
    part = sample.red(1, MUCH)

    with History.open(tmp_path) as history:
        history.keep(part, 1)
        assert history.parts(part.run.run) == [part]

    assert (tmp_path / FILE).stat().st_size < 5_000_000
    assert summarise([part]).counts.collected == len(part.results)
