"""Parts as a test wants them, in a line each."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from test_framework.reporting.facts import Attempt, RunFacts, RunPart, TestResult
from test_framework.reporting.outcome import OF_LETTER, Outcome

MODE = "lightweight"


def result(test: str, letter: str, seconds: float = 0.1, started: float = 1000.0) -> TestResult:
    """One test with the outcome that a letter stands for."""
    outcome = OF_LETTER[letter]
    fell = Attempt(Outcome.FAILED, seconds, "call", "it broke", "a traceback")
    attempts: tuple[Attempt, ...] = (replace(fell, outcome=outcome),) if outcome.fell else (Attempt(outcome, seconds),)
    if outcome is Outcome.RETRIED:
        attempts = (fell, Attempt(Outcome.PASSED, seconds))
    if outcome is Outcome.NOT_RUN:
        attempts = ()
    reason = "" if outcome is Outcome.PASSED else f"why it is {outcome}"
    return TestResult(test, outcome, started, call=seconds, reason=reason, attempts=attempts)


def part(letters: str | dict[str, str], run: str = "run-1", **facts: object) -> RunPart:
    """A complete part: a letter for each test, which are named t0, t1 and so on if only letters are given."""
    named = letters if isinstance(letters, dict) else {f"tests/unit/test_a.py::t{n}": x for n, x in enumerate(letters)}
    results = tuple(result(test, letter) for test, letter in named.items())
    given = {
        "started": 1000.0, "ended": 1010.0, "complete": True, "mode": MODE, "branch": "main", "dirty": False,
        "exit_code": int(any(each.outcome.bad for each in results)),
    }  # fmt: skip
    return RunPart(RunFacts(run, **given | facts), results)  # type: ignore[arg-type]


@st.composite
def parts(draw: st.DrawFn) -> list[RunPart]:
    """The parts of one run, in some shards, some of them repeated, some tests in two of them."""
    shards = draw(st.integers(1, 3))
    tests = [f"tests/unit/test_{n % 3}.py::test_{n}[{'é<&'[n % 3]}]" for n in range(draw(st.integers(0, 12)))]
    made = []
    for shard in range(1, shards + 1):
        for attempt in range(1, draw(st.integers(1, 2)) + 1):
            mine = draw(st.lists(st.sampled_from(tests), unique=True)) if tests else []
            letters = {test: draw(st.sampled_from(sorted(OF_LETTER))) for test in mine}
            made.append(part(letters, shard=shard, shards=shards, attempt=attempt))
    return draw(st.permutations(made))
