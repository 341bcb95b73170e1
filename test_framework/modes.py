"""The realities a test runs in, and which folder runs in which.

A folder's name says what its tests need; the mode says what is real. `python -m test_framework.modes` runs every mode this
machine can run, one after the other, and says what it could not, and why: it is what `nox -s tests` does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

VARIABLE = "TEST_MODE"
MODEL_VARIABLES = ("APP_MODEL_URL", "APP_MODEL_KEY", "APP_MODEL_NAME")
WITHOUT_MODEL = "--without-model"


class Mode(StrEnum):
    LIGHTWEIGHT = "lightweight"
    INTEGRATION = "integration"
    FULL = "full"
    PERFORMANCE = "performance"
    TEMPLATE = "template"  # template only


WHAT_IS_REAL: dict[Mode, str] = {
    Mode.LIGHTWEIGHT: "nothing: SQLite, the in-process bus, a scripted model, no network",
    Mode.INTEGRATION: "Postgres and Redis; the model is scripted",
    Mode.FULL: "server processes, Postgres and Redis; a model where one is given",
    Mode.PERFORMANCE: "what integration has, and the whole machine for whatever is measured or endured",
    Mode.TEMPLATE: "cookiecutter, cruft and git",  # template only
}

WITH_SERVICES = frozenset({Mode.INTEGRATION, Mode.FULL, Mode.PERFORMANCE})

FOLDERS: dict[str, frozenset[Mode]] = {
    "unit": frozenset({Mode.LIGHTWEIGHT}),
    "mission_critical": frozenset({Mode.LIGHTWEIGHT, Mode.INTEGRATION, Mode.FULL}),
    "integration": frozenset({Mode.INTEGRATION, Mode.FULL}),
    "performance": frozenset({Mode.PERFORMANCE}),
    "template": frozenset({Mode.TEMPLATE}),  # template only
}

KIT = "test_framework"


def modes_of(folder: str, *, of_the_kit: bool) -> frozenset[Mode]:
    """In which modes a folder runs; the kit's own tests gain nothing from full."""
    modes = FOLDERS.get(folder, frozenset())
    return modes - {Mode.FULL} if of_the_kit else modes


def place_of(path: Path, root: Path) -> tuple[str, bool]:
    """The folder whose name says what a test needs, the one below `tests`; and whether it is one of the kit's own."""
    parts = path.relative_to(root).parts if path.is_relative_to(root) else ()
    below = parts[parts.index("tests") + 1 :] if "tests" in parts else ()
    return (below[0] if below else ""), KIT in parts[:1]


NEEDS: dict[str, str] = {
    "unit": "what lightweight shows best",
    "integration": "real Postgres and Redis",
    "performance": "the machine to itself, and minutes",
    "template": "cookiecutter and cruft",  # template only
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
    from test_framework.services.stack import Stack
    from test_framework.services.state import ServiceError

    stack = Stack.of_a_run()
    try:
        for service in ("postgres", "redis"):
            next(candidates(service, stack, wanted_provider()))
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
        code = _run(mode, [*_shared_out(arguments), *told])
        green = "green"
        if WITHOUT_MODEL in told:
            green += f", without a real model: set {', '.join(MODEL_VARIABLES)}"
        outcomes[mode] = green if code == 0 else f"red (pytest ended with {code}): nox -s {mode}"
        worst = worst or code
    if Mode.PERFORMANCE not in outcomes:
        outcomes[Mode.PERFORMANCE] = "not run: it wants the machine for itself: nox -s performance"
    print("\n" + "\n".join(f"{mode:<12} {outcome}" for mode, outcome in outcomes.items()), flush=True)
    return worst


def _shared_out(arguments: Sequence[str]) -> tuple[str, ...]:
    """Share a whole suite out among the processors; what somebody selects is sooner done by one."""
    if any(word.startswith("-n") or Path(word.partition("::")[0]).exists() for word in arguments):
        return ()
    return ("-n", f"{(os.cpu_count() or 1) + 1}", "--dist", "worksteal")


def _run(mode: Mode, arguments: Sequence[str]) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", f"--mode={mode}", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(run_all(sys.argv[1:], (Mode.LIGHTWEIGHT, Mode.INTEGRATION, Mode.FULL)))
