"""What one test needs beyond its folder's promise, and whether this run has it.

A test declares it by `@pytest.mark.needs("redis")`, and a fixture by `@requires("redis")`, for every test that asks for it.
A test whose needs the run or the machine does not meet is deselected and counted with the reason, before anything of it runs.
A need that a test's folder can never meet is a mistake, and refused.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from test_framework.modes import FOLDERS, MODEL_VARIABLES, WITH_SERVICES, Mode, folder_of, missing_for_a_model
from test_framework.running import machine

if TYPE_CHECKING:
    import pytest

MARKER = "needs(*what): what a test can't do without"
EVERY = frozenset(Mode)
WITH_ENGINE = WITH_SERVICES
WITH_ENGINE |= {Mode.TEMPLATE}  # template only
MODEL = "model"
INSTALL = "brew install" if sys.platform == "darwin" else "apt-get install"
BY_CHOICE = "--without-model says so"
REQUIRED = "required_needs"

Declared = TypeVar("Declared", bound=Callable[..., Any])


@dataclass(frozen=True)
class Need:
    """Something a test can't do without: what it is, which modes have it, why this machine might not, what helps then."""

    what: str
    modes: frozenset[Mode]
    lacking: Callable[[], str | None] = lambda: None
    remedy: str = ""


def requires(*needs: str) -> Callable[[Declared], Declared]:
    """Declare what a fixture can't do without: `@pytest.fixture` above, `@requires("redis")` below it."""

    def declare(fixture: Declared) -> Declared:
        setattr(fixture, REQUIRED, needs)
        return fixture

    return declare


def demand_whole_model(mode: Mode, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse an endpoint of which a part is missing: a user who set a variable expects the model to be asked."""
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
    "model": Need("a real model", frozenset({Mode.FULL}), _model_lacking, f"export {'=… '.join(MODEL_VARIABLES)}=…"),
    "docker": Need("a container engine with this project's images", WITH_ENGINE, machine.engine_lacking, "docker info"),
    "older_postgres": Need("the image of the Postgres before this one", WITH_SERVICES, machine.older_postgres_lacking),
    "chromium": Need("a browser", WITH_SERVICES, machine.browser_lacking, f"{INSTALL} chromium"),
    "small_disk": Need(
        "a disk that can be filled", WITH_SERVICES, machine.small_disk_lacking, "SERVICES=compose nox -s integration"
    ),
    "faketime": Need("a clock that can be set", EVERY, machine.faketime_lacking, f"{INSTALL} faketime"),
    "python_3_13": Need("Python 3.13", frozenset({Mode.TEMPLATE}), machine.python_3_13_lacking),  # template only
    "curl": Need("curl", EVERY, machine.on_path("curl"), f"{INSTALL} curl"),
    "git": Need("git", EVERY, machine.on_path("git"), f"{INSTALL} git"),
    "npm": Need("npm", EVERY, machine.on_path("npm"), f"{INSTALL} npm"),
    "many_files": Need("many open files", EVERY, machine.files_lacking, "ulimit -n 4096"),
    "mount": Need("the right to mount a disk", WITH_SERVICES, machine.mount_lacking),
    "root": Need("root", EVERY, machine.root_lacking),
    "ipv6": Need("IPv6", EVERY, machine.ipv6_lacking),
    "posix": Need("a POSIX system", EVERY, machine.posix_lacking),
    "linux": Need("Linux", EVERY, machine.linux_lacking),
    # >>> template only
    "every_machine": Need("all kinds of machines", frozenset({Mode.TEMPLATE}), machine.every_machine_lacking),
    "package_index": Need("a package index", frozenset({Mode.KIT}), machine.index_lacking),
    # <<< template only
}
"""Every need by its name; what can be had by a command has a remedy, and `invoke doctor` looks for it."""


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
    asked = [Demand(need, f"the fixture {name}") for name, needs in _fixtures_of(item) for need in needs]
    return marked + asked


def _fixtures_of(item: pytest.Item) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each fixture of a test with what it requires; one that was replaced counts if its successor asks for it."""
    definitions = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    for name in getattr(item, "fixturenames", ()):
        for definition in reversed(definitions.get(name, ())):
            yield name, getattr(definition.func, REQUIRED, ())
            if name not in definition.argnames:
                break


def contradictions(item: pytest.Item, root: Path) -> list[str]:
    """What a test demands that it can never get where it lies."""
    folder = folder_of(item.path, root)
    if folder not in FOLDERS:
        return [f"no mode runs {item.nodeid}: put it in one of {', '.join(FOLDERS)}"]
    modes = FOLDERS[folder]
    found = []
    for demand in demands_of(item):
        if demand.need not in KNOWN:
            found.append(f"{item.nodeid} needs {demand.need!r}, which is unknown: choose from {', '.join(KNOWN)}")
        elif not modes & KNOWN[demand.need].modes:
            found.append(
                f"{item.nodeid} lies in {folder}/, which runs in {_listed(modes)} only, and {demand.said_by} needs "
                f"{KNOWN[demand.need].what}, which is to be had in {_listed(KNOWN[demand.need].modes)}: "
                f"move the test, or have it ask for less"
            )
    return found


class Answers:
    """What this machine lacks, asked once for each need: in the controller of a parallel run, for all its workers.

    Workers that asked for themselves might get different answers, and pytest-xdist refuses workers that collect different tests.
    """

    def __init__(self, given: Mapping[str, str | None] | None = None) -> None:
        self._known = dict(given or {})

    def lacking(self, need: str) -> str | None:
        """Say why this machine does not meet a need; None where it does."""
        if need not in self._known:
            self._known[need] = KNOWN[need].lacking()
        return self._known[need]

    def of(self, mode: Mode) -> dict[str, str | None]:
        """The answers for every need that a mode may meet."""
        return {need: self.lacking(need) for need, known in KNOWN.items() if mode in known.modes}


def unmet(
    item: pytest.Item, mode: Mode, root: Path, answers: Answers, *, without_model: bool
) -> tuple[str, str] | None:
    """The first need of a test that this run can't meet, and why; None where the test can run."""
    runs_in = FOLDERS.get(folder_of(item.path, root), EVERY)
    for need in dict.fromkeys(demand.need for demand in demands_of(item)):
        known = KNOWN[need]
        if mode not in known.modes:
            return need, " or ".join(f"nox -s {other}" for other in Mode if other in known.modes & runs_in)
        if need == MODEL and without_model:
            return need, BY_CHOICE
        if why := answers.lacking(need):
            if not known.remedy:
                return need, why
            from test_framework.services.diagnosis import command_against

            return need, f"{why} (next: {command_against(why, known.remedy)})"
    return None


def _listed(modes: Iterable[Mode]) -> str:
    return " and ".join(mode for mode in Mode if mode in set(modes))
