"""A run as CSV, a line for each test."""

from __future__ import annotations

import csv
import io

from test_framework.reporting.model import Report

COLUMNS = (
    "test", "outcome", "attempts", "seconds", "setup", "call", "teardown", "worker", "shard", "started",
    "quarantined", "reason", "run", "commit", "branch", "mode",
)  # fmt: skip


def write(report: Report) -> str:
    """Write the table, with its heads."""
    shards = {bar.test: lane.shard for lane in report.lanes for bar in lane.bars}
    run = report.run
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for result in report.results:
        writer.writerow(
            (
                _inert(result.id),
                result.outcome,
                len(result.attempts),
                f"{result.seconds:.4f}",
                f"{result.setup:.4f}",
                f"{result.call:.4f}",
                f"{result.teardown:.4f}",
                result.worker,
                shards.get(result.id, 1),
                f"{result.started:.3f}",
                "yes" if result.quarantined else "no",
                _inert(result.reason),
                run.run,
                run.commit,
                _inert(run.branch),
                run.mode,
            )
        )
    return text.getvalue()


def _inert(text: str) -> str:
    """A spreadsheet would calculate what begins so."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
