"""What did not pass, why as far as the error reporter can tell, and since when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from test_framework.error_reporter import ErrorReporter
from test_framework.errors import reproduce
from test_framework.errors.failure import PROPERTY, Circumstances, Failure, Phase
from test_framework.reporting.facts import RunFacts, TestResult
from test_framework.reporting.merging import Merged
from test_framework.reporting.model import FailedTest, FailureCause, Matrix
from test_framework.reporting.outcome import ABSENT, OF_LETTER, Outcome

EXPLAINED = 2000
"""How many failures are explained: of more, more of the same would be said."""
TEXT_LETTERS = 1500


def failures_and_causes(merged: Merged, matrix: Matrix) -> tuple[tuple[FailedTest, ...], tuple[FailureCause, ...]]:
    """List what fell or never ran, what reddens the run first, and group it by cause."""
    fell = sorted(
        (result for result in merged.results if result.outcome.fell or result.outcome is Outcome.NOT_RUN), key=_weight
    )
    if not fell:
        return (), ()
    explained = [result for result in fell if result.falls][:EXPLAINED]
    diagnosis = ErrorReporter().explain(_kept(result, merged.run) for result in explained)
    causes = tuple(
        FailureCause(
            title=cause.root_cause,
            category=str(cause.category),
            fault=str(cause.fault),
            confidence=cause.confidence,
            where=f"{cause.where}:{cause.line}" if cause.line else cause.where,
            tests=cause.tests,
            next_command=cause.next_command,
        )
        for cause in diagnosis.causes
    )
    place = {cause.number: index for index, cause in enumerate(diagnosis.causes)}
    of_test = {said.test: said for said in diagnosis.failures}
    history = dict(zip(matrix.tests, matrix.cells, strict=True))
    failures = []
    for result in fell:
        said = of_test.get(result.id)
        since, commit = _since(history.get(result.id, ""), matrix)
        last = result.falls[-1] if result.falls else None
        failures.append(
            FailedTest(
                test=result.id,
                outcome=result.outcome,
                phase=last.phase if last else "",
                message=last.message if last else result.reason,
                detail=last.detail if last else "",
                attempts=len(result.attempts),
                worker=result.worker,
                shard=merged.shard_of.get(result.id, 1),
                seconds=result.seconds,
                reproduce=said.reproduce if said else _again(result, merged.run),
                history=history.get(result.id, ""),
                since=since,
                since_commit=commit,
                quarantine=result.reason if result.outcome is Outcome.QUARANTINED else "",
                cause=place.get(said.cause) if said else None,
            )
        )
    return tuple(failures), causes


def _weight(result: TestResult) -> tuple[int, str]:
    order = (Outcome.FAILED, Outcome.ERROR, Outcome.NOT_RUN, Outcome.RETRIED, Outcome.QUARANTINED)
    return order.index(result.outcome), result.id


def _kept(result: TestResult, run: RunFacts) -> Failure:
    """Take what was kept where it failed, or what can be said without it."""
    kept = result.facts.get(PROPERTY, ())
    if kept:
        return Failure.from_json(cast("Mapping[str, Any]", kept[-1]))
    fall = result.falls[-1]
    phase = fall.phase if fall.phase in ("setup", "call", "teardown", "collect") else "run"
    return Failure(
        test=result.id,
        phase=cast("Phase", phase),
        worker=result.worker,
        began=result.started,
        circumstances=_circumstances(run),
        text=(fall.detail or fall.message)[-TEXT_LETTERS:],
    )


def _again(result: TestResult, run: RunFacts) -> str:
    return reproduce.command(Failure(test=result.id, phase="run", circumstances=_circumstances(run)))


def _circumstances(run: RunFacts) -> Circumstances:
    seed = int(run.seed) if run.seed.isdecimal() else None
    return Circumstances(mode=run.mode, provider=run.provider, seed=seed, workers=run.workers)


def _since(letters: Sequence[str], matrix: Matrix) -> tuple[str, str]:
    """Find the first run of the row of falls that this one ends."""
    first = len(letters) - 1
    for index in range(len(letters) - 1, -1, -1):
        if letters[index] == ABSENT or not OF_LETTER[letters[index]].tells:
            continue
        if not OF_LETTER[letters[index]].fell:
            break
        first = index
    if first < 0:
        return "", ""
    return matrix.runs[first].run, matrix.runs[first].commit
