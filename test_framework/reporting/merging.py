"""From parts to one run: which of them count, what they say together, and how far that can be trusted.

Of a shard that was run again the last attempt counts; the earlier ones still count for flakiness.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from test_framework.reporting.facts import RunFacts, RunPart, TestResult
from test_framework.reporting.model import ShardTrust, SkipReason, Trust
from test_framework.reporting.outcome import Outcome
from test_framework.reporting.quarantine import QuarantinedTest, today

_WORST_FIRST = (
    Outcome.ERROR,
    Outcome.FAILED,
    Outcome.NOT_RUN,
    Outcome.QUARANTINED,
    Outcome.RETRIED,
    Outcome.XPASSED,
    Outcome.PASSED,
    Outcome.XFAILED,
    Outcome.SKIPPED,
)


@dataclass(frozen=True)
class Merged:
    """One run, put together."""

    run: RunFacts
    parts: tuple[RunPart, ...]
    """Those that count, by shard."""
    results: tuple[TestResult, ...]
    shard_of: dict[str, int]
    trust: Trust
    missing: tuple[int, ...]
    share: str = ""
    """Which shard this is, where it is looked at by itself."""


def merge(parts: Sequence[RunPart], entries: Sequence[QuarantinedTest] = (), *, by_itself: bool = False) -> Merged:
    """Put the parts of one run together, or look at a shard by itself: it does not miss the others."""
    latest: dict[int, RunPart] = {}
    for part in sorted(parts, key=lambda part: part.run.attempt):
        latest[part.run.shard] = part
    counting = tuple(latest[shard] for shard in sorted(latest))
    shards = max(part.run.shards for part in counting)
    expected = latest.keys() if by_itself else range(1, shards + 1)
    missing = tuple(sorted(set(expected) - latest.keys()))
    results, shard_of, doubled = _results(counting)
    superseded = Counter(part.run.shard for part in parts)
    trust = Trust(
        shards=tuple(
            _trust(latest[shard], superseded[shard] - 1)
            if shard in latest
            else ShardTrust(shard, 0, True, False, 0, 0, 0, 0, 0)
            for shard in sorted(expected)
        ),
        doubled=doubled,
        skips=_skips(results),
        warnings=tuple(dict.fromkeys(warning for part in counting for warning in part.warnings)),
        problems=tuple(_problems(counting, missing, doubled)),
        quarantine=tuple(f"{entry.test}: {entry} ({entry.days_left(today())} days left)" for entry in entries),
    )
    share = f" of shard {counting[0].run.shard} of {shards}" if by_itself and shards > 1 else ""
    return Merged(_facts(counting, missing), counting, results, shard_of, trust, missing, share)


def _facts(parts: Sequence[RunPart], missing: Sequence[int]) -> RunFacts:
    first = parts[0].run
    runs = [part.run for part in parts]
    ends = [run.ended for run in runs if run.ended is not None]
    codes = [run.exit_code for run in runs]
    return replace(
        first,
        attempt=max(run.attempt for run in runs),
        shard=1,
        shards=max(run.shards for run in runs),
        started=min(run.started for run in runs),
        ended=max(ends, default=None),
        complete=not missing and all(run.complete for run in runs),
        exit_code=None if None in codes else max((code for code in codes if code is not None), default=None),
        whole=all(run.whole for run in runs),
        dirty=None if any(run.dirty is None for run in runs) else any(run.dirty for run in runs),
        workers=sum(run.workers for run in runs),
    )


def _results(parts: Sequence[RunPart]) -> tuple[tuple[TestResult, ...], dict[str, int], tuple[str, ...]]:
    """Each test once; one that ran in two shards shows its worse side, and is named."""
    kept: dict[str, TestResult] = {}
    shard_of: dict[str, int] = {}
    doubled: list[str] = []
    for part in parts:
        for result in part.results:
            other = kept.get(result.id)
            if other is not None:
                doubled.append(result.id)
                if _WORST_FIRST.index(other.outcome) <= _WORST_FIRST.index(result.outcome):
                    continue
            kept[result.id] = result
            shard_of[result.id] = part.run.shard
    return tuple(kept.values()), shard_of, tuple(dict.fromkeys(doubled))


def _trust(part: RunPart, superseded: int) -> ShardTrust:
    return ShardTrust(
        shard=part.run.shard,
        attempt=part.run.attempt,
        missing=False,
        complete=part.run.complete,
        collected=len(part.results),
        ran=sum(result.outcome is not Outcome.NOT_RUN for result in part.results),
        deselected=part.deselected,
        workers=part.run.workers,
        superseded=superseded,
    )


def _skips(results: Iterable[TestResult]) -> tuple[SkipReason, ...]:
    tests: dict[str, list[str]] = defaultdict(list)
    for result in results:
        if result.outcome in (Outcome.SKIPPED, Outcome.XFAILED):
            tests[result.reason or "no reason given"].append(result.id)
    by_count = sorted(tests.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(SkipReason(reason, tuple(names)) for reason, names in by_count)


def _problems(parts: Sequence[RunPart], missing: Sequence[int], doubled: Sequence[str]) -> Iterable[str]:
    shards = max(part.run.shards for part in parts)
    for shard in missing:
        yield f"shard {shard} of {shards} has no record"
    for part in parts:
        where = f"shard {part.run.shard}: " if shards > 1 else ""
        yield from (f"{where}{problem}" for problem in part.problems)
        if shards > 1 and not part.results:
            yield f"{where}it ran no test"
    commits = {part.run.commit for part in parts} - {""}
    if len(commits) > 1:
        yield f"its shards are of different commits: {', '.join(sorted(commits))}"
    if doubled:
        yield f"{len(doubled)} tests ran in more than one shard, the first is {doubled[0]}"
