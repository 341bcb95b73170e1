"""Rates by day and area, and the page of the week."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from test_framework.reporting.ci_jobs import JobOutcome
from test_framework.reporting.facts import RunPart
from test_framework.reporting.history import History, digest
from test_framework.reporting.summary import summarise
from test_framework.reporting.week import write
from test_framework.tests.unit.reporting.runs import part

NOON = datetime(2026, 3, 20, 12, tzinfo=UTC).timestamp()
DAY = 86_400.0
API, DB = "tests/unit/api/test_a.py", "tests/unit/db/test_b.py"


def run_on(day: int, api: str, db: str, *, number: int = 0, commit: str = "") -> RunPart:
    """One run, so many days before noon: a letter for each test of two folders."""
    tests = {f"{API}::t{n}": x for n, x in enumerate(api)} | {f"{DB}::t{n}": x for n, x in enumerate(db)}
    began = NOON - day * DAY + number * 60
    return part(tests, f"run-{day}-{number}", started=began, ended=began + 10, commit=commit)


def test_rates_are_counted_by_day_and_by_folder() -> None:
    past = [run_on(2, "....", "...F"), run_on(2, "....", "..F.", number=1), run_on(1, "....", "....")]

    rates = summarise([run_on(0, "FF..", ".s.Q")], map(digest, past)).rates

    assert [(day.day, day.runs, day.red, day.failed, day.judged) for day in rates.days] == [
        ("2026-03-18", 2, 2, 2, 16),
        ("2026-03-19", 1, 0, 0, 8),
        ("2026-03-20", 1, 1, 2, 6),
    ]
    assert [day.pass_rate for day in rates.days] == [pytest.approx(87.5), 100, pytest.approx(100 * 4 / 6)]
    assert {area.area: (area.failed, area.judged) for area in rates.areas} == {
        "tests/unit/api": ((0, 0, 2), (8, 4, 4)),
        "tests/unit/db": ((2, 0, 0), (8, 4, 2)),
    }


def test_flaky_is_what_passed_on_a_retry_or_flipped_on_a_commit() -> None:
    past = [
        run_on(1, "F...", "R...", commit="c"),
        run_on(1, "....", "....", number=1, commit="c"),
        run_on(1, ".F..", "....", number=2, commit="d"),
    ]

    yesterday = summarise([run_on(0, "....", "....")], map(digest, past)).rates.days[0]

    assert (yesterday.flaky, yesterday.tests, yesterday.flaky_share) == (2, 8, 25)


def test_a_run_in_which_the_machine_failed_counts_against_no_test() -> None:
    (day,) = summarise([run_on(0, "F" * 10, "." * 10)]).rates.days

    assert (day.runs, day.red, day.judged) == (1, 1, 0)
    assert day.pass_rate is None


def job(number: int, name: str, conclusion: str) -> JobOutcome:
    return JobOutcome(number, 1, "weekly", name, conclusion, NOON - DAY, 60.0 * number, "c", "https://example.org")


def test_the_week_stands_beside_the_week_before(tmp_path: Path) -> None:
    with History.open(tmp_path) as history:
        for made in (run_on(9, "....", "F..."), run_on(3, "....", "F..F"), run_on(0, "....", "....")):
            history.keep(made, 1)
        history.keep_jobs([job(1, "soak", "failure"), job(2, "soak", "success"), job(2, "mutants", "success")])

        lines = write(history, NOON + 60).splitlines()

    assert "## The week until 2026-03-20" in lines
    assert "| lightweight | 2 | 1 | 87.5 % (87.5 %) | 0 % (0 %) | 10 s (10 s) |" in lines
    assert "| area | 2026-03-17 | 2026-03-20 | week |" in lines
    assert "| `tests/unit/db` | 2 of 4 |  | 25 % |" in lines
    assert not [line for line in lines if "tests/unit/api" in line], "nothing failed there"
    assert "| weekly / soak | 2 | 1 | 90 s | success |" in lines


def test_a_week_without_runs_says_so(tmp_path: Path) -> None:
    with History.open(tmp_path) as history:
        assert "No run is recorded." in write(history, NOON)
