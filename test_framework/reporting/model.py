"""A `Report` is all that can be said about one run, computed once by `summary.summarise`: views draw it and never count.

`to_json` and `from_json` carry it to a page and back. Everything is plain: strings, numbers, tuples and dicts of them.
Where a panel has no data its tuple is empty or its value None, and the panel says so. Times are Unix seconds, durations
seconds, sizes bytes. Tests are named by pytest's node id.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

from test_framework.reporting.facts import RunFacts, Sample, ServiceTime, TestResult
from test_framework.reporting.outcome import Counts, Outcome

if TYPE_CHECKING:
    from pydantic import TypeAdapter


class Colour(StrEnum):
    GREEN = "all green"
    ATTENTION = "attention"
    RED = "red"


@dataclass(frozen=True)
class RunVerdict:
    """The run in one word and one sentence. `next_command` is empty where there is nothing to do."""

    colour: Colour
    reason: str
    next_command: str = ""


class GateState(StrEnum):
    HELD = "held"
    BROKEN = "broken"
    NO_DATA = "no data"


@dataclass(frozen=True)
class Gate:
    """One measured value and its limit. `target` is tighter; `past` is oldest first, None where not measured."""

    name: str
    title: str
    unit: str
    value: float | None
    limit: float
    at_least: bool
    """The value must be at least the limit; else at most."""
    state: GateState
    target: float
    on_target: bool | None
    distance: str
    """What is missing to limit and target, in words; empty where nothing is."""
    how: str
    """How the value is measured."""
    evidence: tuple[str, ...] = ()
    """What broke it, by name: tests, services, event types."""
    past: tuple[float | None, ...] = ()


class ChangeKind(StrEnum):
    NEWLY_FAILING = "newly failing"
    FIXED = "fixed"
    NEW = "new"
    REMOVED = "removed"
    NEWLY_SKIPPED = "newly skipped"
    NEWLY_FLAKY = "newly flaky"
    SLOWER = "slower"
    FASTER = "faster"


@dataclass(frozen=True)
class BaselineChange:
    """One difference from the baseline run, with both sides in words."""

    kind: ChangeKind
    test: str
    before: str
    after: str


@dataclass(frozen=True)
class FailedTest:
    """One test that did not pass: failed, error, quarantined, not run, or passed only after a retry.

    `history` has a letter per run of `Report.matrix.runs`; `since` is the first run of the unbroken row of falls that
    this one ends, `since_commit` its commit. `cause` is an index into `Report.causes`, None where none was found.
    """

    test: str
    outcome: Outcome
    phase: str
    message: str
    detail: str
    attempts: int
    worker: str
    shard: int
    seconds: float
    reproduce: str
    history: str = ""
    since: str = ""
    since_commit: str = ""
    quarantine: str = ""
    cause: int | None = None


@dataclass(frozen=True)
class FailureCause:
    """Why some tests failed together, as the error reporter explains it. `fault`: infrastructure, test, code or unknown."""

    title: str
    category: str = "unknown"
    fault: str = "unknown"
    confidence: float = 0.0
    where: str = ""
    tests: tuple[str, ...] = ()
    next_command: str = ""


@dataclass(frozen=True)
class PastRun:
    """One run of the history, as a column of the matrix and a point of every sparkline."""

    run: str
    started: float
    seconds: float | None
    commit: str
    branch: str
    dirty: bool | None
    complete: bool
    colour: Colour
    counts: Counts
    infrastructure: bool = False
    """So much of it failed at once that the tests are hardly to blame: it counts against nobody's flakiness."""


@dataclass(frozen=True)
class Matrix:
    """Test by run: `cells[i][j]` is the letter (`outcome.LETTERS`, or a blank for "was not there") of `tests[i]` in `runs[j]`,
    oldest run first. `seconds[i]` is how long test i took in the newest run that has it."""

    runs: tuple[PastRun, ...] = ()
    tests: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    seconds: tuple[float, ...] = ()


class Steadiness(StrEnum):
    STEADY = "steady"
    FLAKY = "flaky"
    BROKEN = "broken"
    INFRASTRUCTURE = "infrastructure"
    NOT_ENOUGH_DATA = "not enough data"


@dataclass(frozen=True)
class FlakyTest:
    """A test whose outcomes differ. Rates are shares of 1; `low` and `high` are the flip rate's 95 % Wilson interval."""

    test: str
    steadiness: Steadiness
    runs: int
    falls: int
    flips: int
    flip_rate: float
    low: float
    high: float
    same_commit: int
    """Commits on which it both passed and failed."""
    retried: int
    """Runs in which it passed only after a retry."""
    lost_seconds: float
    history: str
    owner: str = ""
    expires: str = ""
    days_left: int | None = None


@dataclass(frozen=True)
class SlowTest:
    test: str
    setup: float
    call: float
    teardown: float
    usual: float | None = None
    """The median of its past durations."""


@dataclass(frozen=True)
class Trend:
    """One series against its past. `worse` is said only when median, floors and persistence agree."""

    name: str
    title: str
    unit: str
    values: tuple[float | None, ...]
    baseline: float | None
    recent: float | None
    change: float | None
    """Relative: 0.3 is 30 % more than the baseline."""
    worse: bool
    reason: str


@dataclass(frozen=True)
class DayRate:
    """One day: `judged` outcomes of tests and the `failed` among them, the different `tests` and the `flaky` among them."""

    day: str
    runs: int
    red: int
    judged: int
    failed: int
    tests: int
    flaky: int

    @property
    def pass_rate(self) -> float | None:
        """Percent; None where nothing was judged."""
        return 100 * (1 - self.failed / self.judged) if self.judged else None

    @property
    def flaky_share(self) -> float | None:
        """Percent; None where nothing was judged."""
        return 100 * self.flaky / self.tests if self.tests else None


@dataclass(frozen=True)
class AreaRate:
    """One folder of tests, with a number for each day of `Rates.days`."""

    area: str
    judged: tuple[int, ...]
    failed: tuple[int, ...]

    @property
    def failure_rate(self) -> float | None:
        """Percent, over all days."""
        return 100 * sum(self.failed) / sum(self.judged) if any(self.judged) else None


@dataclass(frozen=True)
class Rates:
    """How often tests failed and flaked, by day and by area."""

    days: tuple[DayRate, ...] = ()
    areas: tuple[AreaRate, ...] = ()


@dataclass(frozen=True)
class Durations:
    """Where the time went. Percentiles are over tests; totals are sums over all tests, on all workers."""

    suite_seconds: float | None = None
    p50: float | None = None
    p95: float | None = None
    setup_seconds: float = 0.0
    call_seconds: float = 0.0
    teardown_seconds: float = 0.0
    slowest: tuple[SlowTest, ...] = ()


@dataclass(frozen=True)
class Bar:
    """One test on one worker's line of time."""

    test: str
    start: float
    end: float
    outcome: Outcome


@dataclass(frozen=True)
class WorkerLane:
    """One worker's line in the Gantt chart. `start` and `end` are those of its run's part; `idle` is a share of 1."""

    shard: int
    worker: str
    start: float
    end: float
    busy_seconds: float
    idle: float
    died: str = ""
    bars: tuple[Bar, ...] = ()


@dataclass(frozen=True)
class ResourceCurve:
    """The process tree of one part over time, about one sample a second; peaks name the test that had started last."""

    shard: int
    samples: tuple[Sample, ...]
    peak_memory_bytes: int
    peak_memory_test: str
    peak_files: int
    peak_connections: int


@dataclass(frozen=True)
class Event:
    """One event of one agent run. Its times are None where the test did not measure them."""

    type: str
    seq: int
    committed: float | None = None
    published: float | None = None
    received: float | None = None


@dataclass(frozen=True)
class EventLane:
    """The events of one agent run of one test, in order."""

    test: str
    run: str
    user: str = ""
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class IsolationMatrix:
    """Who saw whose events: `seen[i][j]` events of user j reached user i; off the diagonal all must be 0."""

    test: str
    users: tuple[str, ...]
    seen: tuple[tuple[int, ...], ...]

    @property
    def strays(self) -> int:
        return sum(count for i, row in enumerate(self.seen) for j, count in enumerate(row) if i != j)


@dataclass(frozen=True)
class StartupPhase:
    """One step of a service's start-up, `start` seconds after it began."""

    name: str
    start: float
    seconds: float
    state: str = "done"


@dataclass(frozen=True)
class Startup:
    test: str
    phases: tuple[StartupPhase, ...]


@dataclass(frozen=True)
class Delivery:
    """What one test committed, saw published and received: three equal numbers, or something was lost or doubled."""

    test: str
    committed: int
    published: int
    received: int

    @property
    def equal(self) -> bool:
        return self.committed == self.published == self.received


@dataclass(frozen=True)
class Leak:
    test: str
    what: str


@dataclass(frozen=True)
class ShardTrust:
    """Whether one part told everything. `missing` shards have no record at all."""

    shard: int
    attempt: int
    missing: bool
    complete: bool
    collected: int
    ran: int
    deselected: int
    workers: int
    superseded: int
    """Earlier attempts of this shard that this one replaces; they still count for flakiness."""


@dataclass(frozen=True)
class SkipReason:
    reason: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Trust:
    """How far the numbers can be trusted: what was collected, run and reported, and what was left out and why."""

    shards: tuple[ShardTrust, ...]
    doubled: tuple[str, ...] = ()
    """Tests that ran in more than one shard."""
    skips: tuple[SkipReason, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    """What was wrong with the records: cut lines, dead workers, unreadable files."""
    quarantine: tuple[str, ...] = ()
    """The quarantine's entries in words: test, owner, days left."""
    interventions: int | None = None


@dataclass(frozen=True)
class AlertState:
    """One alert: new, still (with reminders) or recovered."""

    key: str
    title: str
    state: str
    since: float
    told: float
    link: str = ""


@dataclass(frozen=True)
class Report:
    """One run, from every side."""

    run: RunFacts
    """Of all its parts together: earliest start, latest end, complete only if every shard is."""
    generated: float
    verdict: RunVerdict
    counts: Counts
    gates: tuple[Gate, ...] = ()
    baseline: PastRun | None = None
    changes: tuple[BaselineChange, ...] = ()
    failures: tuple[FailedTest, ...] = ()
    causes: tuple[FailureCause, ...] = ()
    results: tuple[TestResult, ...] = ()
    matrix: Matrix = field(default_factory=Matrix)
    flaky: tuple[FlakyTest, ...] = ()
    durations: Durations = field(default_factory=Durations)
    trends: tuple[Trend, ...] = ()
    rates: Rates = field(default_factory=Rates)
    lanes: tuple[WorkerLane, ...] = ()
    resources: tuple[ResourceCurve, ...] = ()
    services: tuple[ServiceTime, ...] = ()
    cleanup_seconds: float | None = None
    event_types: tuple[str, ...] = ()
    """The event types that the project declares, in the order of their declaration."""
    events: tuple[EventLane, ...] = ()
    isolation: tuple[IsolationMatrix, ...] = ()
    startups: tuple[Startup, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    leaks: tuple[Leak, ...] = ()
    alerts: tuple[AlertState, ...] = ()
    trust: Trust = field(default_factory=lambda: Trust(()))
    record: str = ""
    """Where the records of this run lie."""


@cache
def _adapter() -> TypeAdapter[Report]:
    from pydantic import TypeAdapter

    return TypeAdapter(Report)


def to_json(report: Report) -> bytes:
    """Write a report as JSON."""
    return _adapter().dump_json(report)


def from_json(text: bytes | str) -> Report:
    """Read a report that `to_json` has written."""
    return _adapter().validate_json(text)
