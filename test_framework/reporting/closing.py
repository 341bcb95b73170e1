"""The end of a run: its record is read back, summed up on the terminal and kept in the history.

What is printed comes from the record, so that nothing can be on the screen that is not in it.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from test_framework.reporting import gates
from test_framework.reporting.config import load_config
from test_framework.reporting.history import History, HistoryError
from test_framework.reporting.naming import no_record
from test_framework.reporting.outcome import Outcome
from test_framework.reporting.reading import UnreadableRecordError, read_record
from test_framework.reporting.recorder import Recorder
from test_framework.reporting.summary import summarise
from test_framework.reporting.views import markdown, terminal
from test_framework.running.exits import GATE_BROKEN, explain

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter


def close_run(recorder: Recorder, session: pytest.Session, reporter: TerminalReporter) -> None:
    """Sum a run up. Losing a worker or a test makes it red, and a broken gate ends it with exit code 12."""
    lost = [f"worker {worker} died" for worker in recorder.dead_workers]
    if recorder.trouble is None:
        try:
            part = read_record(recorder.path)
        except UnreadableRecordError as error:
            reporter.write_line(str(error))
        else:
            never = sum(result.outcome is Outcome.NOT_RUN for result in part.results)
            lost += [f"{never} of {len(part.results)} collected tests never ran"] if never else []
            exit_code = int(session.exitstatus) or (1 if lost else 0)
            recorder.part = replace(part, run=replace(part.run, exit_code=exit_code, ended=time.time()))
            config = load_config(session.config.rootpath)
            report = summarise([recorder.part], config=config, record=str(_shown(recorder.path)), by_itself=True)
            for line in terminal.lines(report):
                reporter.write_line(line.text, **{line.colour: True} if line.colour else {})
            try:
                markdown.append_to_step(markdown.write(report))
            except OSError as error:
                reporter.write_line(f"no page of this step: {error}")
            if exit_code == 0 and gates.are_broken(report.gates):
                session.exitstatus = GATE_BROKEN
                reporter.write_line(str(explain(GATE_BROKEN)), red=True)
    if recorder.trouble is not None:
        reporter.write_line(no_record(recorder.trouble, recorder.path))
    if lost and not int(session.exitstatus):
        reporter.write_line(f"red, although no test failed: {'; '.join(lost)}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    recorder.exit_code = int(session.exitstatus)


def keep_run(recorder: Recorder, root: Path) -> None:
    """Write a record's last line, and take the run into the history with what came after its summary: how services ended."""
    recorder.finish({"exit_code": recorder.exit_code})
    if recorder.trouble is not None or recorder.part is None:
        return
    try:
        config = load_config(root)
        with History.open(recorder.path.parent.parent) as history:
            history.keep(read_record(recorder.path), recorder.path.stat().st_size)
            history.prune(config.keep_runs, config.keep_days, config.keep_records)
    except (OSError, sqlite3.Error, HistoryError, UnreadableRecordError) as error:
        print(f"the run is not in the history yet ({error}): `invoke report.summary` takes it in", file=sys.stderr)


def _shown(path: Path) -> Path:
    with suppress(ValueError):
        return path.relative_to(Path.cwd())
    return path
