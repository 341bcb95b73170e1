"""A sign that the health monitor is alive: it leaves the hour when it looked, and who merges a run says when that is long ago."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

SIGN = "watched"
OVERDUE_DAYS = 3.0
DAY_SECONDS = 86400


def leave_sign(directory: Path, now: float | None = None) -> None:
    """Write down that somebody has looked."""
    directory.mkdir(parents=True, exist_ok=True)
    stamp = datetime.fromtimestamp(time.time() if now is None else now, UTC)
    (directory / SIGN).write_text(stamp.isoformat(timespec="seconds") + "\n")


def overdue(directory: Path, now: float | None = None) -> str:
    """Say that nobody has looked for days; nothing where somebody has, or where nobody ever did."""
    try:
        looked = datetime.fromisoformat((directory / SIGN).read_text().strip())
    except (FileNotFoundError, ValueError):
        return ""
    days = ((time.time() if now is None else now) - looked.timestamp()) / DAY_SECONDS
    if days < OVERDUE_DAYS:
        return ""
    return f"the health monitor last looked {days:.0f} days ago: is its workflow switched off?"
