"""The realities a test runs in, and which folder runs in which.

A folder's name says what its tests need; the mode says what is real. `python -m test_framework.modes` runs every mode this
machine can run, one after the other, and says what it could not, and why: it is what `nox -s tests` does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from test_framework.running.exits import GATE_BROKEN

VARIABLE = "TEST_MODE"
MODEL_VARIABLES = ("APP_MODEL_URL", "APP_MODEL_KEY", "APP_MODEL_NAME")
WITHOUT_MODEL = "--without-model"
ENDING_SECONDS = 60.0


class Mode(StrEnum):
    LIGHTWEIGHT = "lightweight"
    INTEGRATION = "integration"
    FULL = "full"
    PERFORMANCE = "performance"
    KIT = "kit"  # template only
    TEMPLATE = "template"  # template only


WHAT_IS_REAL: dict[Mode, str] = {
    Mode.LIGHTWEIGHT: "nothing: SQLite, the in-process bus, a scripted model, no network",
    Mode.INTEGRATION: "Postgres and Redis; the model is scripted",
    Mode.FULL: "server processes, Postgres and Redis; a model where one is given",
    Mode.PERFORMANCE: "what integration has, and the whole machine for whatever is measured or endured",
    # >>> template only
    Mode.KIT: "what integration has, and runs of pytest within the run: the test kit is what is tested",
    Mode.TEMPLATE: "cookiecutter, cruft, copier and git",
    # <<< template only
}

ON_REQUEST: dict[Mode, str] = {
    Mode.PERFORMANCE: "it wants the machine for itself",
    Mode.KIT: "it proves the test kit, for minutes, and nothing of the service",  # template only
}
"""What is not run unless it is asked for, and why."""

OF_THE_SERVICE = (Mode.LIGHTWEIGHT, Mode.INTEGRATION, Mode.FULL)
"""The modes whose suites are the service's; the others measure or prove something beside it."""

WITH_SERVICES = frozenset({Mode.INTEGRATION, Mode.FULL, Mode.PERFORMANCE})
WITH_SERVICES |= {Mode.KIT}  # template only

FOLDERS: dict[str, frozenset[Mode]] = {
    "unit": frozenset({Mode.LIGHTWEIGHT}),
    "mission_critical": frozenset(OF_THE_SERVICE),
    "integration": frozenset({Mode.INTEGRATION, Mode.FULL}),
    "full": frozenset({Mode.FULL}),
    "performance": frozenset({Mode.PERFORMANCE}),
    "kit": frozenset({Mode.KIT}),  # template only
    "template": frozenset({Mode.TEMPLATE}),  # template only
}


def folder_of(path: Path, root: Path) -> str:
    """Return the folder whose name says what a test needs: below `tests`, or below the folder of a domain there."""
    parts = path.relative_to(root).parts if path.is_relative_to(root) else ()
    below = parts[parts.index("tests") + 1 :] if "tests" in parts else ()
    return named_folder(below) or (below[0] if below else "")


def named_folder(below: Sequence[str]) -> str:
    """Return the first of some folders that a mode names; empty where there is none."""
    return next((part for part in below if part in FOLDERS), "")


NEEDS: dict[str, str] = {
    "unit": "what lightweight shows best",
    "mission_critical": "the service in one of its realities",
    "integration": "real Postgres and Redis",
    "full": "the service as processes, containers or behind a real model",
    "performance": "the machine to itself, and minutes",
    "kit": "services and runs of its own that it may break",  # template only
    "template": "cookiecutter, cruft and copier",  # template only
}


def chosen(option: str | None, environment: Mapping[str, str] = os.environ) -> Mode:
    """The mode that was asked for; lightweight where none was."""
    variable = environment.get(VARIABLE)
    if option and variable and option != variable:
        raise ValueError(f"--mode={option} and {VARIABLE}={variable} contradict each other: drop one of them")
    wanted = option or variable or Mode.LIGHTWEIGHT
    try:
        return Mode(wanted)
    except ValueError:
        raise ValueError(f"there is no mode {wanted!r}: choose one of {', '.join(Mode)}") from None


def missing_for_a_model(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Which variables would have to be set for a run against a real model."""
    return [name for name in MODEL_VARIABLES if not environment.get(name)]


def obstacle(mode: Mode) -> str | None:
    """Why this machine can't run a mode; None where it can."""
    if mode not in WITH_SERVICES:
        return None
    from test_framework.services.choice import candidates, wanted_provider
    from test_framework.services.drivers import drivers
    from test_framework.services.stack import Stack
    from test_framework.services.state import ServiceError

    stack = Stack.of_a_run()
    try:
        for driver in drivers().values():
            if driver.required:
                next(candidates(driver.name, stack, wanted_provider()))
    except ServiceError as error:
        return str(error)
    return None


def run_all(arguments: Sequence[str], modes: Iterable[Mode]) -> int:
    """Run every mode that can be run here; 0 if all that ran is green."""
    if os.environ.get(VARIABLE):
        print(
            f"{VARIABLE}={os.environ[VARIABLE]} asks for one mode and this runs them all: unset it, or name a session"
        )
        return 4
    outcomes: dict[Mode, str] = {}
    worst = 0
    for mode in modes:
        if reason := obstacle(mode):
            outcomes[mode] = f"not run: {reason}"
            continue
        told = list(arguments)
        if mode is Mode.FULL and missing_for_a_model() and WITHOUT_MODEL not in told:
            told.append(WITHOUT_MODEL)
        print(f"\n=== {mode}: real is {WHAT_IS_REAL[mode]} ===", flush=True)
        code = _run(mode, ["--share-out", *told])
        green = "green"
        if WITHOUT_MODEL in told:
            green += f", without a real model: set {', '.join(MODEL_VARIABLES)}"
        red = "red: a gate is broken" if code == GATE_BROKEN else f"red (pytest ended with {code})"
        outcomes[mode] = green if code == 0 else f"{red}: nox -s {mode}"
        worst = worst or code
    left_out = {mode: f"not run: {why}: nox -s {mode}" for mode, why in ON_REQUEST.items() if mode not in outcomes}
    outcomes.update(left_out)
    print("\n" + "\n".join(f"{mode:<12} {outcome}" for mode, outcome in outcomes.items()), flush=True)
    return worst


def _run(mode: Mode, arguments: Sequence[str]) -> int:
    with subprocess.Popen([sys.executable, "-m", "pytest", f"--mode={mode}", *arguments]) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            with suppress(subprocess.TimeoutExpired):
                process.wait(ENDING_SECONDS)  # Ctrl-C reaches it too, and it ends in good order
            raise


if __name__ == "__main__":
    try:
        sys.exit(run_all(sys.argv[1:], OF_THE_SERVICE))
    except KeyboardInterrupt:
        print("interrupted: no other mode is begun", file=sys.stderr)
        sys.exit(2)
