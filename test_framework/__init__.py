"""What makes this service's tests green for the right reason: services, isolation, guards, reports, and one plugin for pytest."""

from __future__ import annotations

from pathlib import Path


def _checkout() -> Path:
    """Return the folder that the kit's source lies in; of an installed kit, the nearest from here upwards with a pyproject.toml."""
    beside = Path(__file__).resolve().parents[1]
    if (beside / "pyproject.toml").is_file():
        return beside
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "pyproject.toml").is_file()), here)


CHECKOUT = _checkout()
SERVICE: tuple[str, ...]
"""The packages of the service under test: its own code, and the engine below it."""
TESTS_OF_THE_ENGINE = "commitstream/tests"
"""Tests that lie below a package of the service, and are no part of it."""


def __getattr__(name: str) -> tuple[str, ...]:
    """Read pyproject.toml when SERVICE is asked for, as `activate` imports this package with any Python."""
    if name != "SERVICE":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from test_framework.configuration import packages

    return packages()
