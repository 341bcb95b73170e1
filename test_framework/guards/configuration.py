"""What pyproject.toml says to the guards: what this project allows and why, and the lowest Python it runs on."""

from __future__ import annotations

import functools
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class GuardSettings:
    """`may_block`: caller (`file:function`) to why. `skips`: reason (a pattern) to when. `skip_budget`: mode to number."""

    may_block: Mapping[str, str] = field(default_factory=dict)
    skips: Mapping[str, str] = field(default_factory=dict)
    skip_budget: Mapping[str, int] = field(default_factory=dict)


@functools.cache
def settings_of(root: Path) -> GuardSettings:
    """Read what is allowed; nothing is where there is no such table."""
    try:
        document = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return GuardSettings()
    table = document.get("tool", {}).get("guards", {})
    unknown = table.keys() - GuardSettings.__dataclass_fields__.keys()
    if unknown:
        known = ", ".join(GuardSettings.__dataclass_fields__)
        raise ValueError(f"[tool.guards] in pyproject.toml has no {', '.join(sorted(unknown))}: it has {known}")
    return GuardSettings(**table)


@functools.cache
def lowest_python(root: Path) -> tuple[int, ...]:
    """Read the lowest Python that pyproject.toml allows; the running one where it names none."""
    try:
        document = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        document = {}
    wanted = re.search(r">=\s*(\d+)\.(\d+)", str(document.get("project", {}).get("requires-python", "")))
    return (int(wanted[1]), int(wanted[2])) if wanted else sys.version_info[:2]
