"""From N failures to M causes: what has the same key is one cause, and what failed beside a dead service failed of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from test_framework.errors.categories import REPRODUCE, TABLE, Category, Responsibility
from test_framework.errors.diagnosis import Cause, Explanation, RunDiagnosis
from test_framework.errors.evidence import Evidence, RuleFinding
from test_framework.errors.failure import Failure
from test_framework.errors.reproduce import command
from test_framework.errors.rules import recognise
from test_framework.services.drivers import drivers

AT_ONCE_SECONDS = 10.0
TOGETHER = 0.05  # what each other test that saw the same adds to how sure we are


def diagnose(failures: Sequence[Failure]) -> RunDiagnosis:
    """Explain failures together: each alone first, then in the light of the others."""
    found = [recognise(Evidence(failure)) for failure in failures]
    found = beside_a_dead_service(failures, found)
    groups: dict[tuple[str, str], list[int]] = {}
    for place in sorted(range(len(failures)), key=lambda place: failures[place].ended):
        groups.setdefault((found[place].fault, found[place].key), []).append(place)
    ordered = sorted(groups.values(), key=lambda places: weight(found[places[0]], len(places), failures[places[0]]))
    causes = [cause(number, places, failures, found) for number, places in enumerate(ordered, 1)]
    explained: dict[int, Explanation] = {}
    for one, places in zip(causes, ordered, strict=True):
        explained |= {place: explanation(failures[place], found[place], one) for place in places}
    return RunDiagnosis(tuple(explained[place] for place in range(len(failures))), tuple(causes))


def beside_a_dead_service(failures: Sequence[Failure], found: Sequence[RuleFinding]) -> list[RuleFinding]:
    """Blame a service that others found dead at the same time for what a test could not tell by itself."""
    dead = [
        (one.key.removeprefix("service "), failure, one)
        for failure, one in zip(failures, found, strict=True)
        if one.key.startswith("service ") and one.fault is Responsibility.INFRASTRUCTURE
    ]
    better: list[RuleFinding] = []
    for failure, one in zip(failures, found, strict=True):
        match = next(
            (known for known in dead if vague(one) and touches(failure, known[0]) and at_once(failure, known[1])), None
        )
        if match is None:
            better.append(one)
            continue
        cause = replace(match[2], confidence=0.7, rule=f"{one.rule} beside {match[2].rule}")
        better.append(cause)
    return better


def vague(finding: RuleFinding) -> bool:
    """Say whether a finding may as well be an echo of something that was away."""
    echoes = {Category.TIMEOUT, Category.WEBSOCKET, Category.UNKNOWN, Category.SERVICE, Category.STARTUP_ORDER}
    return finding.category in echoes and finding.confidence < 0.9 and not finding.key.startswith("service ")


def touches(failure: Failure, service: str) -> bool:
    driver = drivers().get(service)
    used = driver.fixtures if driver else frozenset()
    return bool(used & set(failure.fixtures)) or any(seen.name == service for seen in failure.services)


def at_once(one: Failure, other: Failure) -> bool:
    return one.began - AT_ONCE_SECONDS <= other.ended and other.began <= one.ended + AT_ONCE_SECONDS


def weight(finding: RuleFinding, count: int, first: Failure) -> tuple[int, int, float]:
    """Order causes: infrastructure first, since it hides the rest; then by how many; then by time."""
    rank = {Responsibility.INFRASTRUCTURE: 0, Responsibility.CODE: 1, Responsibility.TEST: 1, Responsibility.UNKNOWN: 2}
    return rank[finding.fault], -count, first.ended


def cause(number: int, places: Sequence[int], failures: Sequence[Failure], found: Sequence[RuleFinding]) -> Cause:
    best = max((found[place] for place in places), key=lambda one: one.confidence)
    first = failures[places[0]]
    tests = tuple(dict.fromkeys(failures[place].test for place in places))
    line = reproduce(first, best)
    where = Evidence(first).place("test", "app", "kit")
    return Cause(
        number=number,
        category=best.category,
        fault=best.fault,
        root_cause=best.root_cause,
        confidence=min(0.99, best.confidence + TOGETHER * (len(tests) - 1)) if best.confidence else 0.0,
        next_command=next_command(best, line),
        reproduce=line,
        count=len(places),
        first=first.test,
        tests=tests,
        where=where.file if where else first.test.partition("::")[0],
        line=where.line if where else 0,
    )


def explanation(failure: Failure, finding: RuleFinding, of: Cause) -> Explanation:
    line = reproduce(failure, finding)
    return Explanation(
        test=failure.test,
        phase=failure.phase,
        category=finding.category,
        fault=finding.fault,
        root_cause=finding.root_cause,
        confidence=of.confidence if finding.category is of.category else finding.confidence,
        next_command=next_command(finding, line),
        reproduce=line,
        rule=finding.rule,
        cause=of.number,
    )


def reproduce(failure: Failure, finding: RuleFinding) -> str:
    return command(failure, whole_file=finding.category is Category.ISOLATION)


def next_command(finding: RuleFinding, line: str) -> str:
    first = finding.next_command or TABLE[finding.category].first_command
    return line if first == REPRODUCE else first
