"""One run of pytest, to its end or to the end of its time, and how each of its tests ended."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from test_framework.proving.verdicts import FAILED, SKIPPED, Done, ProvingPlan

ENDING_SECONDS = 60.0
LINES = 25


def once(plan: ProvingPlan, seconds: float) -> Done:
    """Run pytest as planned, and read from its report log how each test ended; it is asked to end when its time is up."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "report.jsonl")
        command = [sys.executable, "-m", "pytest", "-q", f"--report-log={log}", *plan.arguments]
        # Its group is its own: a second signal would end it at once, so what a terminal sends reaches it through us alone.
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        ) as process:
            in_time = True
            try:
                said, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                in_time = False
                said = _end(process)
            except KeyboardInterrupt:
                _end(process)
                raise
        took = time.monotonic() - began
        doing = "" if in_time else _at_work(log)
        code = process.returncode or int(not in_time)
        tail = "\n".join(said.splitlines()[-LINES:]) if code else ""
        return Done(plan, code, took, read(log), tail, doing)


def _end(process: subprocess.Popen[str]) -> str:
    """Let a run end in good order, or by force; return all it said."""
    for end in (process.terminate, process.kill):
        end()
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=ENDING_SECONDS)[0]
    return "what it began is still there and holds what it said"


def read(log: Path) -> dict[str, str]:
    """Tell how each test of a report log ended: failed in any phase is failed."""
    outcomes: dict[str, str] = {}
    for entry in _reports(log):
        test, outcome = entry["nodeid"], entry["outcome"]
        if outcome == FAILED or (outcome == SKIPPED and outcomes.get(test) != FAILED):
            outcomes[test] = outcome
        elif entry["when"] == "call":
            outcomes.setdefault(test, outcome)
    return outcomes


def _at_work(log: Path) -> str:
    """Say what a run was at: the tests that had begun and not ended, or the last that had."""
    phases = {entry["nodeid"]: entry["when"] for entry in _reports(log)}
    if under_way := [test for test, phase in phases.items() if phase != "teardown"]:
        return f"while it ran {', '.join(under_way)}"
    return f"after {list(phases)[-1]}" if phases else "before its first test"


def _reports(log: Path) -> Iterator[dict[str, Any]]:
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        with suppress(json.JSONDecodeError):  # what is killed stops in the middle of a line
            entry = json.loads(line)
            if entry.get("$report_type") == "TestReport":
                yield entry
