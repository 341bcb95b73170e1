"""Made-up runs that look like real ones: for the demo, and for tests of whatever draws or computes reports.

All dice are thrown with the seed that is given: the same seed makes the same runs. A sample plants one of everything: tests
that flake, break, are mended, come, go, become slower; a run in which the machine was at fault; a quarantine.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from pydantic import JsonValue

from test_framework.errors.failure import PROPERTY, Circumstances, Failure, Frame, Link, ServiceState
from test_framework.reporting.facts import Attempt, RunFacts, RunPart, Sample, ServiceTime, TestResult, WorkerFacts
from test_framework.reporting.history import Glance, PastPart
from test_framework.reporting.model import Report
from test_framework.reporting.outcome import OF_LETTER, Outcome
from test_framework.reporting.quarantine import QuarantinedTest
from test_framework.reporting.summary import summarise

BEGINNING = 1_790_000_000.0
HOUR = 3600.0
WORKERS = 4
FLAKY_SHARE = 0.12
TYPES = ("order_placed", "order_checked", "item_picked", "item_packed", "order_sent")
_ROOMS = ("api", "agents", "db", "events", "lifecycle", "settings", "web")
_DOERS = (
    "a run",
    "a socket",
    "the hub",
    "a token",
    "the journal",
    "a consumer",
    "the relay",
    "a lease",
    "a slow reader",
)
_DEEDS = (
    "is refused without a token", "ends when its user leaves", "is told once and in order", "survives a restart",
    "waits for the database", "keeps what was committed", "names what is missing", "is closed with a reason",
)  # fmt: skip


@dataclass(frozen=True)
class Size:
    tests: int = 400
    runs: int = 40


@dataclass(frozen=True)
class World:
    """The tests of a made-up project, and what is the matter with some of them."""

    seed: int
    size: Size
    tests: tuple[str, ...]
    seconds: dict[str, float]
    flaky: tuple[str, ...] = ()
    falls: dict[str, range] = field(default_factory=dict)
    """In which runs a test is broken."""
    newly_skipped: str = ""
    fresh: str = ""
    gone: str = ""
    slower: str = ""
    quarantined: str = ""
    faulty_run: int = -1
    skipped: frozenset[str] = field(default_factory=frozenset)

    @property
    def entries(self) -> tuple[QuarantinedTest, ...]:
        """The quarantine of this world."""
        return (QuarantinedTest(self.quarantined, "@ada", "waits for the clock of the container", date(2099, 1, 31)),)


def world(seed: int = 1, size: Size | None = None) -> World:
    """Make up a project."""
    size = size or Size()
    dice = random.Random(seed)
    tests = tuple(_names(size.tests))
    seconds = {test: min(12.0, dice.lognormvariate(-3.0, 1.1)) for test in tests}
    special = dice.sample(tests, 10)
    last = size.runs - 1
    slower = special[5]
    return World(
        seed=seed,
        size=size,
        tests=tests,
        seconds=seconds | {slower: 2.0},
        flaky=(special[0], special[1]),
        falls={
            special[2]: range(last - 3, size.runs),  # broken for some time
            special[3]: range(last - 6, last),  # mended just now
            special[8]: range(last, size.runs),  # broken just now
        },
        newly_skipped=special[9],
        fresh=special[4],
        slower=slower,
        gone=special[6],
        quarantined=special[7],
        faulty_run=size.runs // 2,
        skipped=frozenset(dice.sample(tests, max(1, size.tests // 100))) - frozenset(special),
    )


def past(made_up: World) -> Iterator[PastPart]:
    """Yield the runs before the last, oldest first."""
    for number in range(made_up.size.runs - 1):
        seconds = _seconds(made_up, number)
        tests = {test: Glance(letter, seconds[test], 0.0) for test, letter in _letters(made_up, number)}
        facts = _facts(made_up, number)
        taken = sum(glance.seconds for glance in tests.values()) / WORKERS + 3
        dice = random.Random(f"{made_up.seed} {number} machine")
        yield PastPart(
            run=replace(facts, ended=facts.started + taken),
            tests=tests,
            memory_bytes=round(450e6 * dice.lognormvariate(0, 0.03)),
            cleanup_seconds=dice.lognormvariate(-1.2, 0.2),
            service_seconds=dice.lognormvariate(-0.2, 0.2),
        )


def green(seed: int = 1, size: Size | None = None) -> RunPart:
    """Make up a run in which all goes well."""
    made_up = world(seed, size)
    outcomes = {test: Outcome.SKIPPED if test in made_up.skipped else Outcome.PASSED for test in made_up.tests}
    return _part(made_up, outcomes)


def red(seed: int = 1, size: Size | None = None) -> RunPart:
    """Make up the last run of a world: something of everything."""
    made_up = world(seed, size)
    outcomes = {test: OF_LETTER[letter] for test, letter in _letters(made_up, made_up.size.runs - 1)}
    return _part(made_up, outcomes)


def killed(seed: int = 1, size: Size | None = None) -> RunPart:
    """Make up a run that was killed half-way."""
    whole = green(seed, size)
    half = len(whole.results) // 2
    unheard = (
        TestResult(result.id, Outcome.NOT_RUN, reason="the run ended before it") for result in whole.results[half:]
    )
    last = max((result.started + result.seconds for result in whole.results[:half]), default=whole.run.started)
    return replace(
        whole,
        run=replace(whole.run, complete=False, exit_code=None, ended=last),
        results=(*whole.results[:half], *unheard),
        cleanup_seconds=None,
        problems=("the record ends before the run did",),
    )


def sharded(seed: int = 1, size: Size | None = None, shards: int = 4, missing: Sequence[int] = ()) -> list[RunPart]:
    """Make up a run in shards, some of which may have been lost."""
    whole = red(seed, size)
    return [
        replace(
            whole,
            run=replace(whole.run, shard=shard, shards=shards, exit_code=_exit_code(share)),
            results=share,
        )
        for shard in range(1, shards + 1)
        if shard not in missing
        for share in [whole.results[shard - 1 :: shards]]
    ]


def demo(seed: int = 1, size: Size | None = None) -> Report:
    """Compute the report of the last run of a made-up world, with all its past."""
    made_up = world(seed, size)
    part = red(seed, size)
    return summarise([part], past(made_up), entries=made_up.entries, generated=part.run.ended)


def _names(count: int) -> Iterator[str]:
    for number in range(count):
        room = _ROOMS[number % len(_ROOMS)]
        doer, deed = _DOERS[number // 7 % len(_DOERS)], _DEEDS[number // 63 % len(_DEEDS)]
        name = f"{doer} {deed}".replace(" ", "_")
        lap = number // (7 * len(_DOERS) * len(_DEEDS))
        yield f"tests/unit/{room}/test_{room}_{lap}.py::test_{name}"


def _letters(made_up: World, number: int) -> Iterator[tuple[str, str]]:
    """Yield the outcome of every test in one run of the world."""
    dice = random.Random(f"{made_up.seed} {number}")
    last = made_up.size.runs - 1
    for test in made_up.tests:
        roll = dice.random()
        if test == (made_up.fresh if number < last else made_up.gone):
            continue
        if number == made_up.faulty_run and roll < 0.6:
            yield test, "E"
        elif test in made_up.flaky and roll < FLAKY_SHARE:
            yield test, "R" if roll < FLAKY_SHARE / 3 else "F"
        elif number in made_up.falls.get(test, ()):
            yield test, "F"
        elif test == made_up.quarantined and roll < 0.3:
            yield test, "Q"
        elif test in made_up.skipped or (test == made_up.newly_skipped and number == last):
            yield test, "s"
        else:
            yield test, "."


def _seconds(made_up: World, number: int) -> dict[str, float]:
    """Throw how long each test takes in one run."""
    dice = random.Random(f"{made_up.seed} {number} seconds")
    factor = 1.4 if number >= made_up.size.runs - 7 else 1.0
    return {
        test: usual * (factor if test == made_up.slower else 1.0) * dice.lognormvariate(0, 0.08)
        for test, usual in made_up.seconds.items()
    }


def _facts(made_up: World, number: int) -> RunFacts:
    pushed = number - (number % 5 == 0)  # every fifth run repeats a commit
    commit = f"{random.Random(f'{made_up.seed} commit {pushed}').getrandbits(160):040x}"
    return RunFacts(
        run=f"sample-{made_up.seed}-{number:04}",
        started=BEGINNING + number * HOUR,
        complete=True,
        exit_code=0,
        mode="integration",
        provider="bundled",
        seed=str(1000 + number),
        commit=commit,
        branch="main",
        dirty=False,
        python="3.12.8",
        system="Linux 6.8",
        machine="x86_64",
        processors=4,
        memory_bytes=16_000_000_000,
        workers=WORKERS,
        leaks_watched=True,
        command="python -m pytest --mode=integration -n 4",
    )


def _part(made_up: World, outcomes: dict[str, Outcome]) -> RunPart:
    number = made_up.size.runs - 1
    facts = _facts(made_up, number)
    seconds = _seconds(made_up, number)
    free = [facts.started + 2.0] * WORKERS
    results = []
    for test, outcome in outcomes.items():
        worker = free.index(min(free))
        result = _result(test, outcome, seconds[test], test == made_up.quarantined)
        result = replace(result, started=free[worker], worker=f"gw{worker}")
        free[worker] += sum(attempt.seconds for attempt in result.attempts) + 0.002
        results.append(result)
    ended = max(free) + 1
    return RunPart(
        run=replace(facts, ended=ended, exit_code=_exit_code(results)),
        results=tuple(_told(made_up, results)),
        samples=tuple(_samples(made_up, facts.started, ended, results)),
        services=(ServiceTime("postgres", 0.81), ServiceTime("redis", 0.07, healed=1)),
        workers=tuple(WorkerFacts(f"gw{worker}", facts.started + 0.6, ended) for worker in range(WORKERS)),
        cleanup_seconds=0.31,
        given_up={},
        database_failures={},
        event_types=TYPES,
    )


def _exit_code(results: Sequence[TestResult]) -> int:
    return int(any(result.outcome.bad for result in results))


def _result(test: str, outcome: Outcome, seconds: float, quarantined: bool) -> TestResult:
    fell = Attempt(Outcome.FAILED, seconds, "call", _MESSAGE, _DETAIL)
    good = Attempt(Outcome.PASSED, seconds)
    attempts: tuple[Attempt, ...]
    match outcome:
        case Outcome.RETRIED:
            attempts = (fell, good)
        case Outcome.PASSED:
            attempts = (good,)
        case Outcome.SKIPPED:
            attempts = (Attempt(Outcome.SKIPPED, 0.0004, message="needs a second machine"),)
        case _:
            attempts = (replace(fell, outcome=outcome),)
    share = 0.0 if outcome is Outcome.SKIPPED else seconds
    return TestResult(
        id=test,
        outcome=outcome,
        setup=share * 0.3,
        call=share * 0.6,
        teardown=share * 0.1,
        reason=attempts[0].message,
        quarantined=quarantined,
        attempts=attempts,
        line=12,
        facts={PROPERTY: (json.loads(json.dumps(_failure(test).to_json())),)}
        if any(attempt.outcome.fell for attempt in attempts)
        else {},
    )


def _failure(test: str) -> Failure:
    """What is kept of a test that fell because Redis had been killed."""
    types = ("redis.exceptions.ConnectionError", "redis.exceptions.RedisError", "builtins.Exception")
    frames = (Frame("commitstream/bus/redis_link.py", 103, "connect", "app"),)
    return Failure(
        test,
        "call",
        chain=(Link(types, _MESSAGE.partition(": ")[2], facts={"errno": 111}, frames=frames),),
        services=(ServiceState("redis", "exited", "ended with 137", "bundled"),),
        circumstances=Circumstances("integration", "bundled", 1039, 4),
    )


def _told(made_up: World, results: Sequence[TestResult]) -> Iterator[TestResult]:
    """Let some tests tell what rooms of the kit would."""
    dice = random.Random(f"{made_up.seed} told")
    for number, result in enumerate(results):
        facts: dict[str, tuple[JsonValue, ...]] = {}
        if number % 50 == 0:
            facts["events.lane"] = (_lane(dice, result.started, number),)
            facts["events.delivery"] = ({"committed": 7, "published": 7, "received": 7},)
        if number == 1:
            seen: list[JsonValue] = [[7 if i == j else 0 for j in range(10)] for i in range(10)]
            facts["isolation.matrix"] = ({"users": [f"user-{n}" for n in range(10)], "seen": seen},)
        if number == 2:
            facts["startup.phases"] = (
                [
                    {"name": name, "start": start, "seconds": seconds}
                    for name, start, seconds in (
                        ("settings", 0.0, 0.01), ("database", 0.01, 0.2), ("migrations", 0.21, 0.15),
                        ("bus", 0.01, 0.05), ("hub", 0.36, 0.02), ("routes", 0.38, 0.01),
                    )
                ],
            )  # fmt: skip
        yield replace(result, facts=facts) if facts else result


def _lane(dice: random.Random, started: float, number: int) -> JsonValue:
    at = started + 0.02
    events: list[JsonValue] = []
    for seq, place in enumerate((0, 1, 2, 3, 2, 3, 4), start=1):
        at += dice.uniform(0.002, 0.02)
        events.append(
            {
                "type": TYPES[place],
                "seq": seq,
                "committed": at,
                "published": at + 0.001,
                "received": at + dice.uniform(0.002, 0.006),
            }
        )
    return {"run": f"run-{number}", "user": f"user-{number % 10}", "events": events}


def _samples(made_up: World, began: float, ended: float, results: Sequence[TestResult]) -> Iterator[Sample]:
    dice = random.Random(f"{made_up.seed} samples")
    by_start = sorted(results, key=lambda result: result.started)
    memory, place = 180e6, 0
    for second in range(1, int(ended - began)):
        moment = began + second
        while place < len(by_start) and by_start[place].started <= moment:
            place += 1
        memory += dice.uniform(-4e6, 9e6) if memory < 460e6 else dice.uniform(-9e6, 5e6)
        test = by_start[place - 1].id if place else ""
        yield Sample(moment, round(memory), dice.uniform(180, 390), 140 + place % 40, 18 + place % 9, 9, test)


_MESSAGE = "redis.exceptions.ConnectionError: Error 111 connecting to 127.0.0.1:41987. Connect call failed ('127.0.0.1', 41987)"
_DETAIL = f"""E   {_MESSAGE}

commitstream/bus/redis_link.py:103: ConnectionError"""
