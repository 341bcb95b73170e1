"""Which drivers `pyproject.toml` names: read in each run, so that it imports none of them."""

from __future__ import annotations

import tomllib
from pathlib import Path

from test_framework import CHECKOUT


def named_drivers(checkout: Path = CHECKOUT) -> list[str]:
    """Return the drivers that the project's pyproject.toml names."""
    pyproject = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))
    named: list[str] = pyproject.get("tool", {}).get("test_framework", {}).get("drivers", [])
    return named
