"""What a record says about a run, its tests and its machine: the ground on which every report is computed.

A `RunPart` is one record: the whole of a run, or one shard or one repeated attempt of it. Times are Unix seconds, durations
are seconds, sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import JsonValue

from test_framework.reporting.outcome import Outcome


@dataclass(frozen=True)
class RunFacts:
    """Who ran what, where, with which dice. Empty and None mean that the record does not say."""

    run: str
    attempt: int = 1
    shard: int = 1
    shards: int = 1
    started: float = 0.0
    ended: float | None = None
    complete: bool = False
    exit_code: int | None = None
    whole: bool = True
    """Nothing was selected by hand: what is missing from it has been removed."""
    mode: str = ""
    provider: str = ""
    seed: str = ""
    commit: str = ""
    branch: str = ""
    dirty: bool | None = None
    python: str = ""
    system: str = ""
    machine: str = ""
    processors: int = 0
    memory_bytes: int = 0
    workers: int = 0
    leaks_watched: bool = False
    """A guard looked for what tests leave behind."""
    command: str = ""
    link: str = ""
    """Where the run can be looked at in CI."""

    @property
    def name(self) -> str:
        """The record's own name: no two parts share it."""
        shard = f".s{self.shard}of{self.shards}" if self.shards > 1 else ""
        return self.run + shard + (f".a{self.attempt}" if self.attempt > 1 else "")

    @property
    def seconds(self) -> float | None:
        return None if self.ended is None else max(0.0, self.ended - self.started)  # clocks are set

    @property
    def code(self) -> str:
        """What was tested, as far as two runs can share it; empty where nobody can know."""
        return self.commit if self.commit and self.dirty is False else ""


@dataclass(frozen=True)
class Attempt:
    """One try at one test. `phase` is where it fell: setup, call, teardown, collect or crash; empty if it did not."""

    outcome: Outcome
    seconds: float = 0.0
    phase: str = ""
    message: str = ""
    detail: str = ""


@dataclass(frozen=True)
class TestResult:
    """What became of one test. `attempts` is in order; a test that was not repeated has one, one that never ran none."""

    __test__ = False

    id: str
    outcome: Outcome
    started: float = 0.0
    setup: float = 0.0
    call: float = 0.0
    teardown: float = 0.0
    worker: str = "main"
    reason: str = ""
    """Why it was skipped, expected to fail or quarantined; or the failure in one line."""
    quarantined: bool = False
    attempts: tuple[Attempt, ...] = ()
    line: int = 0
    facts: dict[str, tuple[JsonValue, ...]] = field(default_factory=dict)
    """What rooms of the kit have told about it, its `user_properties`: each name, and every value told under it."""

    @property
    def file(self) -> str:
        return self.id.partition("::")[0]

    @property
    def seconds(self) -> float:
        """How long it kept its worker busy in its last attempt."""
        return self.setup + self.call + self.teardown

    @property
    def lost(self) -> float:
        """The time that went into attempts that failed."""
        return sum(attempt.seconds for attempt in self.attempts if attempt.outcome.fell)

    @property
    def falls(self) -> tuple[Attempt, ...]:
        """The attempts that failed."""
        return tuple(attempt for attempt in self.attempts if attempt.outcome.fell)


@dataclass(frozen=True)
class Sample:
    """The run's processes and services at one moment. `cpu` is percent of one processor; `test` was the last to start.

    `services_bytes` is the part of the memory that services hold outside the process tree: containers, and servers whose
    parent has ended.
    """

    time: float
    memory_bytes: int
    cpu: float
    files: int
    connections: int
    processes: int
    test: str = ""
    services_bytes: int = 0


@dataclass(frozen=True)
class ServiceTime:
    """How long one service took to start, and how often it was healed while tests ran."""

    name: str
    start_seconds: float | None
    healed: int = 0


@dataclass(frozen=True)
class WorkerFacts:
    """One worker's life. `error` is empty unless it died."""

    name: str
    started: float = 0.0
    ended: float | None = None
    error: str = ""
    facts: dict[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True)
class RunPart:
    """All that one record says. `problems` are what was wrong with it, in words."""

    run: RunFacts
    results: tuple[TestResult, ...] = ()
    samples: tuple[Sample, ...] = ()
    services: tuple[ServiceTime, ...] = ()
    workers: tuple[WorkerFacts, ...] = ()
    warnings: tuple[str, ...] = ()
    deselected: int = 0
    cleanup_seconds: float | None = None
    given_up: dict[str, int] | None = None
    """The services that the pool could not bring up, and how often each; None where the run has no services."""
    database_failures: dict[str, int] | None = None
    """Connections to the run's own Postgres that failed or broke, by test and error."""
    event_types: tuple[str, ...] = ()
    """The event types that the project declares."""
    problems: tuple[str, ...] = ()
