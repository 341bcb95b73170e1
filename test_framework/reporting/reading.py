"""From a record's lines to a `RunPart`.

A record is read as far as it goes: one that was cut is a run that did not end, a line that can't be read is named among the
problems, and neither takes anything else away. Only a file without a readable first line is refused.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any

from test_framework.reporting.attempts import Phases, results_of
from test_framework.reporting.facts import RunFacts, RunPart, Sample, ServiceTime, WorkerFacts

NEWEST_FORMAT = 1
Line = dict[str, Any]


class UnreadableRecordError(Exception):
    """A file that is no record of a run."""


def read_record(path: Path) -> RunPart:
    """Read one record, plain or gzipped."""
    try:
        with _opened(path) as file:
            return parse(file)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UnreadableRecordError(f"{path} can't be read: {error}") from None
    except UnreadableRecordError as error:
        raise UnreadableRecordError(f"{path} {error}") from None


def parse(lines: Iterable[str | bytes]) -> RunPart:
    """Make a part of a record's lines."""
    gathered = Gathered()
    for number, line in enumerate(_parsed(lines, gathered.problems), start=1):
        if number == 1 and line.get("$report_type") != "RunStart":
            break
        gathered.take(line)
    if not gathered.start:
        raise UnreadableRecordError("is no record of a run: its first line is not a RunStart")
    if missing := [name for name in ("run", "time") if name not in gathered.start]:
        raise UnreadableRecordError(f"is no record of a run: its first line has no {' and no '.join(missing)}")
    if gathered.start.get("format", 0) > NEWEST_FORMAT:
        raise UnreadableRecordError(f"has format {gathered.start['format']}, and this kit reads up to {NEWEST_FORMAT}")
    return gathered.part()


@dataclass
class Gathered:
    """What has been read so far."""

    start: Line = field(default_factory=dict)
    finish: Line = field(default_factory=dict)
    exit_code: int | None = None
    last_seen: float = 0.0
    services: dict[str, float] = field(default_factory=dict)
    healed: dict[str, int] = field(default_factory=dict)
    cleanup_seconds: float | None = None
    given_up: dict[str, int] | None = None
    database_failures: dict[str, int] | None = None
    deselected: int = 0
    collection: list[str] = field(default_factory=list)
    phases: Phases = field(default_factory=Phases)
    samples: list[Sample] = field(default_factory=list)
    workers: dict[str, WorkerFacts] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def take(self, line: Line) -> None:
        """Take in one line; one of a kind that is not known is left for those who know it."""
        kind = line.get("$report_type")
        reader = getattr(self, f"_take_{kind}", None)
        if reader is None:
            return
        try:
            reader(line)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self.problems.append(f"a {kind} line does not say what it should ({error!r})")

    def part(self) -> RunPart:
        """Put together what was read."""
        complete = self.exit_code is not None
        if not complete:
            self.problems.append("the record ends before the run did")
        for worker in self.workers.values():
            if worker.error:
                self.problems.append(f"worker {worker.name} died: {worker.error.strip().splitlines()[-1]}")
        ended = self.finish.get("time") or self.last_seen or None
        known = {name: value for name, value in self.start.items() if name in RunFacts.__dataclass_fields__}
        run = RunFacts(**known, started=self.start["time"], ended=ended, complete=complete, exit_code=self.exit_code)
        return RunPart(
            run=run,
            results=tuple(results_of(self.collection, self.phases)),
            samples=tuple(self.samples),
            services=tuple(self._services()),
            workers=tuple(self.workers.values()),
            warnings=tuple(self.warnings),
            deselected=max([self.deselected, *(_number(w.facts.get("deselected")) for w in self.workers.values())]),
            cleanup_seconds=self.cleanup_seconds,
            given_up=self.given_up,
            database_failures=self.database_failures,
            event_types=tuple(self.start.get("event_types", ())),
            problems=tuple(self.problems),
        )

    def _services(self) -> Iterator[ServiceTime]:
        for name, seconds in sorted(self.services.items()):
            yield ServiceTime(name, seconds, self.healed.get(name, 0))

    def _take_RunStart(self, line: Line) -> None:  # noqa: N802
        self.start = line
        self.last_seen = line["time"]

    def _take_Collection(self, line: Line) -> None:  # noqa: N802
        self.collection = line["tests"]

    def _take_Services(self, line: Line) -> None:  # noqa: N802
        self.services = line["started"]
        self.healed = line.get("healed", {})
        self.cleanup_seconds = line.get("stopped")
        self.given_up = line.get("given_up")
        self.database_failures = line.get("database_failures")

    def _take_Deselected(self, line: Line) -> None:  # noqa: N802
        self.deselected += line["count"]

    def _take_TestStart(self, line: Line) -> None:  # noqa: N802
        self.phases.started(line["nodeid"], line["time"])
        self.last_seen = max(self.last_seen, line["time"])

    def _take_TestReport(self, line: Line) -> None:  # noqa: N802
        self.phases.take(line)
        self.last_seen = max(self.last_seen, line.get("stop") or 0.0)

    def _take_CollectReport(self, line: Line) -> None:  # noqa: N802
        if line["outcome"] != "passed":
            self.phases.take({**line, "when": "collect"})

    def _take_WarningMessage(self, line: Line) -> None:  # noqa: N802
        self.warnings.append(f"{line['filename']}:{line['lineno']}: {line['category']}: {line['message']}")

    def _take_Sample(self, line: Line) -> None:  # noqa: N802
        self.samples.append(Sample(**{name: line[name] for name in Sample.__dataclass_fields__ if name in line}))
        self.last_seen = max(self.last_seen, line["time"])

    def _take_WorkerUp(self, line: Line) -> None:  # noqa: N802
        self.workers[line["worker"]] = WorkerFacts(line["worker"], line["time"])

    def _take_WorkerDown(self, line: Line) -> None:  # noqa: N802
        up = self.workers.get(line["worker"])
        began = up.started if up else line["time"]
        self.workers[line["worker"]] = WorkerFacts(line["worker"], began, line["time"], line["error"], line["facts"])

    def _take_SessionFinish(self, line: Line) -> None:  # noqa: N802
        self.exit_code = line["exitstatus"]

    def _take_Unwritable(self, line: Line) -> None:  # noqa: N802
        self.problems.append(f"a {line['of']} line could not be written: {line['why']}")

    def _take_RunFinish(self, line: Line) -> None:  # noqa: N802
        self.finish = line
        if line.get("exit_code") is not None:
            self.exit_code = line["exit_code"]


def _parsed(lines: Iterable[str | bytes], problems: list[str]) -> Iterator[Line]:
    for number, text in enumerate(lines, start=1):
        try:
            line = json.loads(text)
        except ValueError:
            problems.append(f"line {number} is cut or damaged and was left out")
            continue
        if isinstance(line, dict):
            yield line
        else:
            problems.append(f"line {number} is no object and was left out")


def _opened(path: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
