"""A skip is a promise not kept: each has a reason that this project knows, and each mode can afford only so many.

Reasons and budgets stand in `[tool.guards.skips]` and `[tool.guards.skip_budget]` of pyproject.toml, so that a new one is
a decision that somebody reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from test_framework.guards.configuration import settings_of

WHERE = "[tool.guards.skips] in pyproject.toml"


def unknown_reason(reason: str, root: Path) -> str | None:
    """Say why a skip is refused; None where its reason is known.

    What a machine lacks is no reason: it is a need, which leaves the test out before it begins.
    """
    plain = reason.removeprefix("Skipped: ")
    if any(fnmatchcase(plain, known) for known in settings_of(root).skips):
        return None
    said = (
        f"the reason {plain!r}, which no one has agreed to" if plain and plain != "unconditional skip" else "no reason"
    )
    return (
        f"skipped with {said}: make it run, declare what a machine may lack by needs(…), or add the reason to {WHERE}"
    )


def over_budget(skipped: Sequence[str], mode: str, root: Path) -> str | None:
    """Say which skips are more than a mode can afford; None where it can."""
    budget = settings_of(root).skip_budget.get(mode, 0)
    if len(skipped) <= budget:
        return None
    each = "\n".join(f"  {one}" for one in skipped)
    return (
        f"{len(skipped)} tests were skipped, and {mode} can afford {budget}"
        f" ([tool.guards.skip_budget] in pyproject.toml):\n{each}"
    )
