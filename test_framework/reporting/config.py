"""What a project may set about its reports: the table `[tool.reports]` in pyproject.toml, checked when it is read."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path

TABLE = "[tool.reports]"


class ReportConfigError(Exception):
    """A setting that can't be used: which, why, and what it may be."""


@dataclass(frozen=True)
class GateRule:
    """What a value is held to: the limit breaks the build, the target is our own ambition."""

    limit: float
    target: float


@dataclass(frozen=True)
class ReportConfig:
    keep_runs: int = 200
    """How many runs of each mode, on each system and Python, stay in the history."""
    keep_days: int = 120
    """How old a run in the history may become."""
    keep_records: int = 30
    """How many raw records stay beside it."""
    compared_runs: int = 50
    """How many runs the matrix, the flakes and the trends look at."""
    baseline_branch: str = "main"
    """Whose last green run a run is compared with."""
    quarantine: str = "tests/quarantine.toml"
    quarantine_days: int = 90
    """How far ahead an entry may expire."""
    reminder_days: int = 7
    """How often an alert that lasts is repeated."""
    gates: dict[str, GateRule] = field(default_factory=dict)
    """Limits and targets other than the kit's."""


def load_config(root: Path) -> ReportConfig:
    """Read the table; all of it may be missing."""
    try:
        table = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")).get("tool", {}).get("reports", {})
    except FileNotFoundError:
        table = {}
    known = {item.name: item.type for item in fields(ReportConfig)}
    for name, value in table.items():
        if name not in known:
            raise ReportConfigError(f"{TABLE} knows no {name!r}; it knows {', '.join(known)}")
        if known[name] == "int" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ReportConfigError(f"{TABLE} {name} is {value!r} and must be a whole number from 1")
        if known[name] == "str" and not isinstance(value, str):
            raise ReportConfigError(f"{TABLE} {name} is {value!r} and must be a text")
    return ReportConfig(**{**table, "gates": _rules(table.get("gates", {}))})


def _rules(table: object) -> dict[str, GateRule]:
    if not isinstance(table, dict):
        raise ReportConfigError(f"{TABLE} gates must be a table: one gate a line")
    rules = {}
    for name, value in table.items():
        match value:
            case {"limit": int() | float() as limit, "target": int() | float() as target, **rest} if not rest:
                rules[name] = GateRule(float(limit), float(target))
            case _:
                raise ReportConfigError(f"{TABLE} gates: write {name} = {{ limit = 1, target = 1 }}, not {value!r}")
    return rules
