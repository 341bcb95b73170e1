"""The project's name, description and version, which only pyproject.toml defines."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


@dataclass(frozen=True)
class Identity:
    name: str
    description: str
    version: str


@cache
def identity() -> Identity:
    """Read the project's identity."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    return Identity(name=project["name"], description=project["description"], version=project["version"])
