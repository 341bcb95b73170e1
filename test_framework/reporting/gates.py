"""What a run must hold, measured: a limit that breaks the build, and beside it our own, tighter target.

A gate without data says so and is not held: silence is no proof.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from test_framework.reporting.config import GateRule, ReportConfigError
from test_framework.reporting.facts import ServiceTime, TestResult
from test_framework.reporting.model import EventLane, FlakyTest, Gate, GateState, Leak, Steadiness
from test_framework.reporting.outcome import Counts

GIGABYTE = 1_000_000_000
EVENT_KINDS = 5
_CONNECTION_LOST = re.compile(
    r"(?:asyncpg|psycopg)\S*\.(?:CannotConnectNow|TooManyConnections|ConnectionDoesNotExist|ConnectionFailure|PostgresConnection)\w*"
    r"|(?:sqlalchemy|sqlite3)\S*(?:OperationalError|InterfaceError|TimeoutError)\b.*(?:connect|connection|QueuePool|unable to open)"
    r"|Connect call failed \(.*54\d\d\)|connection was closed in the middle of operation"
)
_SENT_A_PERSON = re.compile(r"\b(?:ServiceError|ProviderUnavailableError|EngineDownError)\b")


@dataclass(frozen=True)
class Measured:
    """What gates are measured on."""

    counts: Counts
    suite_seconds: float | None = None
    services: Sequence[ServiceTime] = ()
    cleanup_seconds: float | None = None
    peak_memory_bytes: int | None = None
    flaky: Sequence[FlakyTest] = ()
    tests_with_history: int = 0
    lanes: Sequence[EventLane] = ()
    leaks: Sequence[Leak] = ()
    leaks_watched: bool = False
    results: Sequence[TestResult] = ()
    past: Mapping[str, Sequence[float | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """One gate: its name in the configuration, what is measured and how."""

    name: str
    title: str
    unit: str
    held_to: GateRule
    how: str
    measure: Callable[[Measured], float | None]
    at_least: bool = False


def evaluate(measured: Measured, own: Mapping[str, GateRule] | None = None) -> tuple[Gate, ...]:
    """Measure every gate; the limits of `own` stand before the kit's."""
    own = own or {}
    if unknown := own.keys() - {rule.name for rule in RULES}:
        known = ", ".join(rule.name for rule in RULES)
        raise ReportConfigError(f"[tool.reports.gates] knows no {', '.join(sorted(unknown))}; it knows {known}")
    return tuple(_gate(rule, own.get(rule.name, rule.held_to), measured) for rule in RULES)


def _gate(rule: Rule, held_to: GateRule, measured: Measured) -> Gate:
    value = rule.measure(measured)
    if value is None:
        state = GateState.NO_DATA
    else:
        state = GateState.HELD if _holds(value, held_to.limit, rule.at_least) else GateState.BROKEN
    return Gate(
        name=rule.name,
        title=rule.title,
        unit=rule.unit,
        value=value,
        limit=held_to.limit,
        at_least=rule.at_least,
        state=state,
        target=held_to.target,
        on_target=None if value is None else _holds(value, held_to.target, rule.at_least),
        distance=_distance(rule, held_to, value, measured.counts),
        how=rule.how,
        past=tuple(measured.past.get(rule.name, ())),
    )


def _holds(value: float, limit: float, at_least: bool) -> bool:
    """A limit of nothing may be met; any other upper limit must be stayed below."""
    if at_least:
        return value >= limit
    return value < limit or value == limit == 0


def _distance(rule: Rule, held_to: GateRule, value: float | None, counts: Counts) -> str:
    if value is None or _holds(value, held_to.target, rule.at_least):
        return ""
    if rule.name == "pass_rate":
        marks = dict.fromkeys(mark for mark in (held_to.limit, held_to.target) if value < mark)
        return ", ".join(f"{counts.to_fix(mark)} to fix for {mark:g} %" for mark in marks)
    marks = dict.fromkeys(mark for mark in (held_to.limit, held_to.target) if not _holds(value, mark, rule.at_least))
    return ", ".join(f"{abs(value - mark):.2g} {rule.unit} from {mark:g}".replace("  ", " ") for mark in marks)


def _flaky_share(measured: Measured) -> float | None:
    """A retry is proof without any history; a share of nothing is not known."""
    if not measured.tests_with_history and not measured.counts.retried:
        return None
    flaky = sum(test.steadiness is Steadiness.FLAKY for test in measured.flaky)
    return 100 * flaky / max(measured.counts.collected, flaky, 1)


def _kinds_seen(measured: Measured) -> float | None:
    """The fullest lane counts: a run of an agent shows each kind of event, or something is missing."""
    if not measured.lanes:
        return None
    return float(max(len({event.kind for event in lane.events}) for lane in measured.lanes))


def _slowest_service(measured: Measured) -> float | None:
    times = [service.start_seconds for service in measured.services if service.start_seconds is not None]
    return max(times, default=None)


def _matching(measured: Measured, pattern: re.Pattern[str]) -> float | None:
    if not any(result.attempts for result in measured.results):
        return None
    details = (attempt.detail for result in measured.results for attempt in result.falls)
    return float(sum(pattern.search(detail) is not None for detail in details))


RULES: tuple[Rule, ...] = (
    Rule(
        "pass_rate",
        "tests that pass",
        "%",
        GateRule(98, 100),
        "of all that were collected, less skips, expected failures and the quarantine; what never ran did not pass",
        lambda m: m.counts.pass_rate,
        at_least=True,
    ),
    Rule(
        "suite",
        "the whole suite",
        "s",
        GateRule(600, 120),
        "from the first line of the earliest part to the last of the latest",
        lambda m: m.suite_seconds,
    ),
    Rule(
        "services",
        "services are up",
        "s",
        GateRule(30, 5),
        "the service that took longest, from being asked for to being healthy",
        _slowest_service,
    ),
    Rule(
        "cleanup",
        "clean-up",
        "s",
        GateRule(5, 2),
        "from the end of the session until nothing of the run is left",
        lambda m: m.cleanup_seconds,
    ),
    Rule(
        "memory",
        "peak memory",
        "GB",
        GateRule(2, 1),
        "memory of the process tree, shared pages counted once, looked at every second",
        lambda m: None if m.peak_memory_bytes is None else m.peak_memory_bytes / GIGABYTE,
    ),
    Rule(
        "flaky",
        "flaky tests",
        "%",
        GateRule(5, 0),
        "tests that passed and failed on one commit, passed on a retry, or flip too often, of all collected",
        _flaky_share,
    ),
    Rule(
        "events",
        "kinds of event seen",
        "",
        GateRule(EVENT_KINDS, EVENT_KINDS),
        "different kinds in the fullest run of an agent that a whole suite of the service reported",
        _kinds_seen,
        at_least=True,
    ),
    Rule(
        "leaks",
        "leaks",
        "",
        GateRule(0, 0),
        "what tests left behind, as the guards report it",
        lambda m: float(len(m.leaks)) if m.leaks_watched or m.leaks else None,
    ),
    Rule(
        "interventions",
        "manual interventions",
        "",
        GateRule(0, 0),
        "attempts that ended by telling a person to bring a service up",
        lambda m: _matching(m, _SENT_A_PERSON),
    ),
    Rule(
        "database",
        "database connection failures",
        "",
        GateRule(0, 0),
        "attempts that ended because the database could not be reached or was lost",
        lambda m: _matching(m, _CONNECTION_LOST),
    ),
)
