"""What changed since another run: which tests fail, pass, came, went, are skipped, or take another time than they did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from test_framework.reporting.history import Glance
from test_framework.reporting.model import BaselineChange, ChangeKind
from test_framework.reporting.outcome import OF_LETTER, Outcome
from test_framework.reporting.past import Column

SLOWER_TIMES = 1.5
SLOWER_SECONDS = 0.25
_SILENT = frozenset({Outcome.SKIPPED, Outcome.NOT_RUN})


def choose_baseline(past: Sequence[Column], now: Column, branch: str) -> Column | None:
    """Choose the last whole run of the baseline's branch, or else the last whole run there is."""
    whole = [column for column in past if column.measurable and column.run.run != now.run.run]
    of_branch = [column for column in whole if column.run.branch == branch and not column.run.dirty]
    best = of_branch or whole
    return best[-1] if best else None


def changes(before: Column, now: Column, usual: Mapping[str, float] | None = None) -> Iterator[BaselineChange]:
    """Yield every difference; `usual` is each test's median time, which says more than one run."""
    for test, glance in now.tests.items():
        known = before.tests.get(test)
        yield from _of_outcome(test, known, glance)
        usual_seconds = known.seconds if known and usual is None else (usual or {}).get(test)
        if known is not None and usual_seconds is not None:
            yield from _of_time(test, known, glance, usual_seconds)
    if now.measurable:
        for test, glance in before.tests.items():
            if test not in now.tests:
                yield BaselineChange(ChangeKind.REMOVED, test, OF_LETTER[glance.letter], "not there")


def _of_outcome(test: str, before: Glance | None, now: Glance) -> Iterator[BaselineChange]:
    after = OF_LETTER[now.letter]
    earlier = OF_LETTER[before.letter] if before else None
    said = earlier or "not there"
    failing = after in (Outcome.FAILED, Outcome.ERROR)
    failed = earlier in (Outcome.FAILED, Outcome.ERROR)
    if failing and not failed:
        yield BaselineChange(ChangeKind.NEWLY_FAILING, test, said, after)
    elif failed and after in (Outcome.PASSED, Outcome.RETRIED, Outcome.XPASSED):
        yield BaselineChange(ChangeKind.FIXED, test, said, after)
    elif after is Outcome.SKIPPED and earlier is not Outcome.SKIPPED:
        yield BaselineChange(ChangeKind.NEWLY_SKIPPED, test, said, after)
    elif earlier is None:
        yield BaselineChange(ChangeKind.NEW, test, said, after)


def _of_time(test: str, before: Glance, now: Glance, usual: float) -> Iterator[BaselineChange]:
    if {OF_LETTER[before.letter], OF_LETTER[now.letter]} & _SILENT:
        return
    if now.seconds > usual * SLOWER_TIMES and now.seconds - usual > SLOWER_SECONDS:
        yield BaselineChange(ChangeKind.SLOWER, test, f"{usual:.2f} s", f"{now.seconds:.2f} s")
    elif usual > now.seconds * SLOWER_TIMES and usual - now.seconds > SLOWER_SECONDS:
        yield BaselineChange(ChangeKind.FASTER, test, f"{usual:.2f} s", f"{now.seconds:.2f} s")
