"""The reports of a checkout: takes in what was recorded meanwhile, finds a run, and computes its report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from test_framework.reporting import quarantine
from test_framework.reporting.config import ReportConfig, load_config
from test_framework.reporting.facts import RunFacts
from test_framework.reporting.history import History, Intake
from test_framework.reporting.model import Report
from test_framework.reporting.naming import DIRECTORY
from test_framework.reporting.summary import summarise


class NoSuchRunError(Exception):
    """A run that was asked for and is not there: which, and which there are."""


@dataclass(frozen=True)
class Library:
    """All that is known of this checkout's runs. `intake` tells what was taken in when it was opened."""

    root: Path
    config: ReportConfig
    history: History
    intake: Intake

    @classmethod
    @contextmanager
    def open(cls, root: Path) -> Iterator[Library]:
        """Open the history, and take in every record that it does not have."""
        config = load_config(root)
        with History.open(root / DIRECTORY) as history:
            intake = history.ingest_all()
            history.prune(config.keep_runs, config.keep_days, config.keep_records)
            yield cls(root, config, history, intake)

    def find(self, name: str = "", mode: str | None = None) -> RunFacts:
        """Find a run by its name or the beginning of it; the newest without one."""
        runs = self.history.runs(mode)
        found = [run for run in runs if run.run.startswith(name)]
        exact = [run for run in found if run.run == name]
        names = list(dict.fromkeys(run.run for run in exact or found))
        if not runs:
            of_mode = f" of {mode}" if mode else ""
            raise NoSuchRunError(
                f"no run{of_mode} is recorded in {self.history.directory}; make one: nox -s {mode or 'lightweight'}"
            )
        if not names:
            there = ", ".join(dict.fromkeys(run.run for run in runs[:5]))
            raise NoSuchRunError(f"no run begins with {name!r}; the newest are {there}")
        if name and len(names) > 1:
            raise NoSuchRunError(
                f"{len(names)} runs begin with {name!r}: {', '.join(names[:5])}; write more of the name"
            )
        return (exact or found)[0]

    def report(self, name: str = "", mode: str | None = None, baseline: str | None = None) -> Report:
        """Compute the report of a run, held against another or the baseline."""
        run = self.find(name, mode)
        parts = self.history.parts(run.run)
        started = max(part.run.started for part in parts)
        past = self.history.past(run.mode, started, self.config.compared_runs, like=run)
        if baseline is not None:
            other = self.find(baseline).run
            known = {part.run.run for part in past}
            past = [*past, *(part for part in self.history.past_of(other) if other not in known)]
            baseline = other
        entries = quarantine.load_even_if_expired(self.root / self.config.quarantine)
        where = self.history.directory / parts[0].run.name
        return summarise(
            parts,
            past,
            self.config,
            entries,
            self.history.alerts(),
            baseline_run=baseline,
            record=str(where) if where.exists() else "",
        )
