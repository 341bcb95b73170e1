"""What every benchmark shares: a row that says whether a claim holds, and a fair way to take turns.

Machines are noisy and absolute figures drift, so contenders take turns within the same seconds, the median of several
turns counts, and what is compared is the ratio.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One claim, measured; without a bar it is there to be known, not to be held."""

    claim: str
    ours: str
    peer: str = ""
    ratio: float | None = None
    bar: str = ""
    held: bool | None = None

    @classmethod
    def ahead(cls, claim: str, ours: float, peer: float, unit: str, at_least: float | None = None) -> Self:
        """More is better: ours over theirs."""
        ratio = ours / peer
        held = None if at_least is None else ratio >= at_least
        bar = "" if at_least is None else f"≥ {at_least:g}×"
        return cls(claim, amount(ours, unit), amount(peer, unit), ratio, bar, held)

    @classmethod
    def within(cls, claim: str, ours: float, peer: float, unit: str, at_most: float | None = None) -> Self:
        """Less is better: ours over theirs."""
        ratio = ours / peer
        held = None if at_most is None else ratio <= at_most
        bar = "" if at_most is None else f"≤ {at_most:g}×"
        return cls(claim, amount(ours, unit), amount(peer, unit), ratio, bar, held)

    @classmethod
    def under(cls, claim: str, ours: float, limit: float, unit: str, peer: float | None = None) -> Self:
        """Less is better, and the bar is a figure; a peer is named for comparison."""
        shown = "" if peer is None else amount(peer, unit)
        return cls(claim, amount(ours, unit), shown, ours / peer if peer else None, f"< {limit:g} {unit}", ours < limit)


def amount(value: float, unit: str) -> str:
    """Three digits that matter, and the unit."""
    if value >= 1000:
        digits = 3 - len(str(int(value)))
        return f"{round(value, digits):,.0f} {unit}"
    return f"{value:.3g} {unit}"


def table(rows: Sequence[Row], title: str) -> Table:
    """Draw the rows for people."""
    drawn = Table(title=title, title_justify="left", title_style="bold")
    for name in ("claim", "ours", "peer", "ratio", "bar", "held"):
        drawn.add_column(name, justify="left" if name == "claim" else "right", no_wrap=name != "claim")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}×"
        held = {None: "", True: "[green]yes[/]", False: "[red]no[/]"}[row.held]
        drawn.add_row(row.claim, row.ours, row.peer, ratio, row.bar, held)
    return drawn


def say(line: str) -> None:
    """Show that something goes on."""
    Console(stderr=True, highlight=False).print(f"  {line}", style="dim")


async def take_turns(
    contenders: Mapping[str, Callable[[], Awaitable[float]]], turns: int, warm_up: int = 1
) -> dict[str, float]:
    """Measure each contender once per turn, in an order that changes, and return the medians."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(-warm_up, turns):
        for name in names if turn % 2 else reversed(names):
            value = await contenders[name]()
            if turn >= 0:
                taken[name].append(value)
    return {name: statistics.median(values) for name, values in taken.items()}


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a share of all values does not exceed."""
    return sorted(values)[max(math.ceil(len(values) * share) - 1, 0)]
