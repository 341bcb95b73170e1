"""A monitor that sleeps is noticed by those who are awake."""

from __future__ import annotations

from pathlib import Path

from test_framework.reporting.watching import DAY_SECONDS, SIGN, leave_sign, overdue

NOW = 1_800_000_000.0


def test_a_monitor_that_looked_lately_is_alive(tmp_path: Path) -> None:
    leave_sign(tmp_path, NOW)

    assert overdue(tmp_path, NOW + 2 * DAY_SECONDS) == ""


def test_a_monitor_that_has_not_looked_for_days_is_missed(tmp_path: Path) -> None:
    leave_sign(tmp_path, NOW)

    assert "last looked 9 days ago" in overdue(tmp_path, NOW + 9 * DAY_SECONDS)


def test_where_nobody_ever_looked_nobody_is_missed(tmp_path: Path) -> None:
    assert overdue(tmp_path, NOW) == ""


def test_a_sign_that_cannot_be_read_is_no_sign(tmp_path: Path) -> None:
    (tmp_path / SIGN).write_text("yesterday, I think")

    assert overdue(tmp_path, NOW) == ""
