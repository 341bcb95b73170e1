"""What a run must hold, measured: a limit that ends a run with exit code 12, and a tighter target that only shows.

A gate without data says so and is not held: silence is no proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from test_framework.reporting.config import GateRule, ReportConfigError
from test_framework.reporting.facts import ServiceTime
from test_framework.reporting.model import EventLane, FlakyTest, Gate, GateState, Leak, Steadiness
from test_framework.reporting.outcome import Counts

GIGABYTE = 1_000_000_000
WORKERS_OF_THE_LIMIT = 4
"""The memory limit is meant for so many workers; a machine with more processors starts more, which is no leak."""


@dataclass(frozen=True)
class Measured:
    """What gates are measured on."""

    counts: Counts
    suite_seconds: float | None = None
    services: Sequence[ServiceTime] = ()
    cleanup_seconds: float | None = None
    peak_memory_bytes: int | None = None
    workers: int = 0
    flaky: Sequence[FlakyTest] = ()
    flakiness_known: bool = False
    """The whole of a run is looked at, with a history or with retries."""
    event_types: frozenset[str] = frozenset()
    """The event types that the project declares; none where a run can't be expected to show them all."""
    lanes: Sequence[EventLane] = ()
    leaks: Sequence[Leak] = ()
    leaks_watched: bool = False
    given_up: Mapping[str, int] | None = None
    """The services that the run could not bring up by itself; None where it had none."""
    database_failures: Mapping[str, int] | None = None
    lost: Mapping[str, int] | None = None
    """How many events each test lost; None where no test captured events."""
    past: Mapping[str, Sequence[float | None]] = field(default_factory=dict)

    @property
    def missing_types(self) -> tuple[str, ...]:
        return tuple(sorted(self.event_types - {event.type for lane in self.lanes for event in lane.events}))


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
    evidence: Callable[[Measured], Iterable[str]] = lambda measured: ()
    """What was counted, by name: a test, a service, an event type."""


def check_names(own: Mapping[str, GateRule]) -> None:
    """Refuse a limit for a gate that does not exist."""
    if unknown := own.keys() - {rule.name for rule in RULES}:
        known = ", ".join(rule.name for rule in RULES)
        raise ReportConfigError(f"[tool.reports.gates] knows no {', '.join(sorted(unknown))}; it knows {known}")


def evaluate(measured: Measured, own: Mapping[str, GateRule] | None = None) -> tuple[Gate, ...]:
    """Measure every gate; the limits of `own` stand before the kit's."""
    own = own or {}
    check_names(own)
    return tuple(_gate(rule, own.get(rule.name, rule.held_to), measured) for rule in RULES)


def are_broken(checked: Iterable[Gate]) -> bool:
    return any(gate.state is GateState.BROKEN for gate in checked)


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
        evidence=tuple(rule.evidence(measured)) if state is GateState.BROKEN else (),
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


def _peak_memory(measured: Measured) -> float | None:
    if measured.peak_memory_bytes is None:
        return None
    return measured.peak_memory_bytes / GIGABYTE / max(1.0, measured.workers / WORKERS_OF_THE_LIMIT)


def _flaky_share(measured: Measured) -> float | None:
    if not measured.flakiness_known:
        return None
    return 100 * len(_flaky_tests(measured)) / max(measured.counts.collected, len(_flaky_tests(measured)), 1)


def _flaky_tests(measured: Measured) -> list[str]:
    return [test.test for test in measured.flaky if test.steadiness is Steadiness.FLAKY]


def _types_never_seen(measured: Measured) -> float | None:
    """A suite that captured no event at all has no data."""
    return float(len(measured.missing_types)) if measured.event_types and measured.lanes else None


def _slowest_service(measured: Measured) -> float | None:
    times = [service.start_seconds for service in measured.services if service.start_seconds is not None]
    return max(times, default=None)


def _total(counted: Mapping[str, int] | None) -> float | None:
    return None if counted is None else float(sum(counted.values()))


def _each(counted: Mapping[str, int] | None) -> Iterator[str]:
    for name, count in sorted((counted or {}).items()):
        yield f"{name} ({count} times)" if count > 1 else name


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
        GateRule(1800, 120),
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
        "the run's processes and its services, containers included, about once a second, shared pages counted once;"
        f" a run with more than {WORKERS_OF_THE_LIMIT} workers may use as much more as it has workers",
        _peak_memory,
    ),
    Rule(
        "flaky",
        "flaky tests",
        "%",
        GateRule(5, 0),
        "tests that passed and failed on one commit, passed on a retry, or flip too often, of all of a whole run",
        _flaky_share,
        evidence=_flaky_tests,
    ),
    Rule(
        "events",
        "event types never seen",
        "",
        GateRule(0, 0),
        "event types that the project declares and no test of a whole suite of the service captured",
        _types_never_seen,
        evidence=lambda m: m.missing_types,
    ),
    Rule(
        "lost",
        "lost events",
        "",
        GateRule(0, 0),
        "events that a capture passed over, or that were committed and never received",
        lambda m: _total(m.lost),
        evidence=lambda m: _each(m.lost),
    ),
    Rule(
        "leaks",
        "leaks",
        "",
        GateRule(0, 0),
        "what tests left behind, as the guards report it",
        lambda m: float(len(m.leaks)) if m.leaks_watched or m.leaks else None,
        evidence=lambda m: (f"{leak.test}: {leak.what}" for leak in m.leaks),
    ),
    Rule(
        "interventions",
        "manual interventions",
        "",
        GateRule(0, 0),
        "services that the run could neither bring up nor heal by itself, counted by the service pool",
        lambda m: None if m.given_up is None else float(len(m.given_up)),
        evidence=lambda m: _each(m.given_up),
    ),
    Rule(
        "database",
        "database connection failures",
        "",
        GateRule(0, 0),
        "connections to the run's own Postgres that failed or broke, counted by the driver; what a test breaks is its own",
        lambda m: _total(m.database_failures),
        evidence=lambda m: _each(m.database_failures),
    ),
)
