"""ErrorReporter: why tests failed, whose fault it is, and what to do next.

It needs nothing but what was kept of each failure when it happened, so it says the same at the end of a run and from its record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from test_framework.errors.failure import PROPERTY, Failure

if TYPE_CHECKING:
    from test_framework.errors.diagnosis import RunDiagnosis

__all__ = ["ErrorReporter", "Failure"]


class ErrorReporter:
    """Explains failures, alone and together."""

    def explain(self, failures: Iterable[Failure]) -> RunDiagnosis:
        """Say of each failure what kind it is and why, and which causes they have in common."""
        from test_framework.errors.causes import diagnose

        return diagnose(list(failures))

    def failures_of(self, reports: Iterable[Mapping[str, Any]]) -> list[Failure]:
        """Read the failures out of the reports of a record, as pytest-reportlog writes them."""
        return [_failure_of(report) for report in reports if report.get("outcome") == "failed"]


def _failure_of(report: Mapping[str, Any]) -> Failure:
    for name, kept in report.get("user_properties") or ():
        if name == PROPERTY:
            return Failure.from_json(kept)
    shown = report.get("longrepr")
    crash = (shown.get("reprcrash") or {}).get("message", "") if isinstance(shown, dict) else shown
    when = report.get("when")
    return Failure(
        test=str(report.get("nodeid", "")),
        phase=when if when in {"setup", "call", "teardown"} else "collect" if when is None else "run",
        began=float(report.get("start") or 0.0),
        ended=float(report.get("stop") or 0.0),
        worker=str(report.get("worker_id") or ""),
        text=str(crash or ""),
    )
