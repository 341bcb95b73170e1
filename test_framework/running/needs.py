"""What one test needs beyond its folder's promise, and whether this run has it.

A test says it by `@pytest.mark.needs("redis")`, or by asking for a fixture that can't do without. What a run has not got is
left out with the reason; a demand that its folder can never meet is a mistake, and refused.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from test_framework.modes import FOLDERS, MODEL_VARIABLES, WITH_SERVICES, Mode, folder_of, missing_for_a_model

MARKER = "needs(*what): what a test can't do without"
EVERY = frozenset(Mode)
MODEL = "model"
BY_CHOICE = "--without-model says so"


@dataclass(frozen=True)
class Need:
    """Something a test can't do without: what it is, which modes have it, and why this machine might not."""

    what: str
    modes: frozenset[Mode]
    lacking: Callable[[], str | None] = lambda: None


def _on_path(*commands: str) -> Callable[[], str | None]:
    def lacking() -> str | None:
        return None if any(map(shutil.which, commands)) else f"{' or '.join(commands)} is not on PATH"

    return lacking


@cache
def _engine_lacking() -> str | None:
    from test_framework.services import engine
    from test_framework.services.state import EngineDownError

    try:
        engine.compose_command()
        engine.connect().close()
    except EngineDownError as reason:
        return str(reason)
    return None


def _browser_lacking() -> str | None:
    return (
        None if find_browser() else f"none of {', '.join(BROWSERS)} is on PATH: install one, or say where in CHROMIUM"
    )


BROWSERS = (
    *("chromium-headless-shell", "chrome-headless-shell"),  # two thirds of the memory
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
)


def find_browser() -> str | None:
    """Where this machine keeps a browser that pages can be tried in."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


def demand_whole_model(mode: Mode, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse half an endpoint: whoever set a part of it expects it to be asked."""
    missing = missing_for_a_model(environment)
    if mode is Mode.FULL and 0 < len(missing) < len(MODEL_VARIABLES):
        given = next(name for name in MODEL_VARIABLES if name not in missing)
        raise ValueError(f"{given} is set and {' and '.join(missing)} not: a real model needs all of them")


def _model_lacking() -> str | None:
    missing = missing_for_a_model()
    return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set" if missing else None


KNOWN: dict[str, Need] = {
    "postgres": Need("a real Postgres", WITH_SERVICES),
    "redis": Need("a real Redis", WITH_SERVICES),
    "processes": Need("the service as processes of its own", frozenset({Mode.FULL})),
    "model": Need("a real model", frozenset({Mode.FULL}), _model_lacking),
    "docker": Need("a container engine", WITH_SERVICES, _engine_lacking),
    "chromium": Need("a browser", WITH_SERVICES, _browser_lacking),
    "curl": Need("curl", EVERY, _on_path("curl")),
    "git": Need("git", EVERY, _on_path("git")),
}

IMPLIED = {
    "pool": ("postgres", "redis"),
    "servers_that_stay": ("postgres", "redis"),
    "real_model": ("model",),
    "browser": ("chromium",),
}


@dataclass(frozen=True)
class Demand:
    """One need of one test, and by what the test said so."""

    need: str
    said_by: str


def demands_of(item: pytest.Item) -> list[Demand]:
    """Everything a test needs, by its markers and by its fixtures."""
    marked = [
        Demand(str(need), f"the marker needs({need!r})") for mark in item.iter_markers("needs") for need in mark.args
    ]
    fixtures: Iterable[str] = getattr(item, "fixturenames", ())
    asked = [Demand(need, f"the fixture {name}") for name in fixtures for need in IMPLIED.get(name, ())]
    return marked + asked


def contradictions(item: pytest.Item, root: Path) -> list[str]:
    """What a test demands that it can never get where it lies."""
    folder = folder_of(item.path, root)
    if folder not in FOLDERS:
        return [f"no mode runs {item.nodeid}: put it in one of {', '.join(FOLDERS)}"]
    modes = FOLDERS[folder]
    found = []
    for demand in demands_of(item):
        if demand.need not in KNOWN:
            found.append(f"{item.nodeid} needs {demand.need!r}, which nobody knows: choose from {', '.join(KNOWN)}")
        elif not modes & KNOWN[demand.need].modes:
            found.append(
                f"{item.nodeid} lies in {folder}/, which runs in {_listed(modes)} only, and {demand.said_by} needs "
                f"{KNOWN[demand.need].what}, which is to be had in {_listed(KNOWN[demand.need].modes)}: "
                f"move the test, or have it ask for less"
            )
    return found


def unmet(item: pytest.Item, mode: Mode, root: Path, *, without_model: bool) -> tuple[str, str] | None:
    """The first need of a test that this run can't meet, and why; None where the test can run."""
    runs_in = FOLDERS.get(folder_of(item.path, root), EVERY)
    for need in dict.fromkeys(demand.need for demand in demands_of(item)):
        known = KNOWN[need]
        if mode not in known.modes:
            return need, " or ".join(f"nox -s {other}" for other in Mode if other in known.modes & runs_in)
        if need == MODEL and without_model:
            return need, BY_CHOICE
        if why := known.lacking():
            return need, why
    return None


def _listed(modes: Iterable[Mode]) -> str:
    return " and ".join(mode for mode in Mode if mode in set(modes))
