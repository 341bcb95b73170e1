"""What `[tool.test_framework]` of a project's pyproject.toml says, and where the project lies."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from test_framework import CHECKOUT

PACKAGES = ("app", "commitstream")


@functools.cache
def project_root() -> Path:
    """Return the folder of the project: the nearest from here upwards with the table, else where the kit lies."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if table_of(folder)), CHECKOUT)


def table_of(root: Path) -> Mapping[str, Any]:
    """Read the table in a folder's pyproject.toml; empty where there is none, or where the file is not TOML."""
    try:
        document = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # pytest says of a file that is not TOML what is wrong with it
        return MappingProxyType({})
    table: Mapping[str, Any] = document.get("tool", {}).get("test_framework", {})
    return table


@functools.cache
def packages() -> tuple[str, ...]:
    """Return the packages of the project under test; those of this template unless the table names others."""
    return tuple(table_of(project_root()).get("packages", PACKAGES))
