"""Whether a series has become worse, or only jitters.

The median of the last runs is held against the median of those before. It is worse when it exceeds that by a relative floor,
by an absolute floor and by what the past itself varies, and when every one of the last runs lies above the past's usual.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from test_framework.reporting.model import Trend

RECENT = 5
BASELINE = 25
ENOUGH = 8


@dataclass(frozen=True)
class Floors:
    """How much more is too much: a share of the baseline, and an amount below which nobody cares."""

    relative: float = 0.15
    absolute: float = 0.0
    spread: float = 2.0
    """In standard deviations of the past, which are taken from its median deviation: an outlier does not widen them."""


def judge(name: str, title: str, unit: str, values: Sequence[float | None], floors: Floors) -> Trend:
    """Judge one series, oldest first; more is worse."""
    known = [value for value in values if value is not None]
    recent, before = known[-RECENT:], known[:-RECENT][-BASELINE:]
    if len(recent) < RECENT or len(before) < ENOUGH:
        needed = RECENT + ENOUGH
        reason = f"not enough data: {len(known)} of {needed} runs"
        return Trend(name, title, unit, tuple(values), None, None, None, False, reason)
    baseline, now = statistics.median(before), statistics.median(recent)
    deviation = 1.4826 * statistics.median(abs(value - baseline) for value in before)
    change = (now - baseline) / baseline if baseline else None
    needed_more = max(baseline * floors.relative, floors.absolute, floors.spread * deviation)
    worse = now - baseline > needed_more and min(recent) > baseline + deviation
    reason = _reason(baseline, now, change, unit, worse, now - baseline > needed_more)
    return Trend(name, title, unit, tuple(values), baseline, now, change, worse, reason)


def _reason(baseline: float, now: float, change: float | None, unit: str, worse: bool, median_is: bool) -> str:
    said = f"{now:.3g} {unit} against {baseline:.3g} {unit}".replace(" %", "%")
    share = "" if change is None else f" ({change:+.0%})"
    if worse:
        return f"worse in all of the last {RECENT} runs: {said}{share}"
    if median_is:
        return f"higher, but not in every one of the last {RECENT} runs: {said}{share}"
    return f"within the usual: {said}{share}"
