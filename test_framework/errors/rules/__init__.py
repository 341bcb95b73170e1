"""What is known about failures, one file for each kind of trouble; the first rule that recognises a failure names it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from test_framework.errors.categories import Category, Responsibility
from test_framework.errors.evidence import Evidence, RuleFinding
from test_framework.errors.rules import data, files, general, leftovers, loops, machine, traffic

Rule = Callable[[Evidence], RuleFinding | None]

RULES: Sequence[Rule] = (
    *files.RULES,
    *loops.RULES,
    *leftovers.RULES,
    *traffic.BEFORE_DATA,
    *machine.RULES,
    *leftovers.ISOLATION,
    *data.RULES,
    *traffic.RULES,
    *general.RULES,
)


def recognise(evidence: Evidence) -> RuleFinding:
    """Return what the first rule that knows such a failure says; unknown rather than wrong."""
    for rule in RULES:
        if found := rule(evidence):
            from dataclasses import replace

            return replace(found, rule=f"{rule.__module__.rpartition('.')[2]}.{rule.__name__}")
    raised = evidence.raised
    kind = raised.type if raised else "no exception"
    return RuleFinding(
        Category.UNKNOWN,
        Responsibility.UNKNOWN,
        f"nothing known fits: {evidence.said(raised)}",
        0.0,
        f"{kind} {evidence.place() or ''}",
        rule="none",
    )
