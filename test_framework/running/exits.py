"""What the end of a run means: its exit code in one line, and no end that looks green without being one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

INCOMPLETE = 10
ENDED_EARLY = 11
GATE_BROKEN = 12
FORCED = 130  # as a shell reports what died of Ctrl-C

MEANING = {
    2: "the run was interrupted",
    3: "pytest or a plugin of it failed by itself, so the outcome is unknown",
    4: "pytest could not begin with what it was told",
    5: "no test ran, which shows nothing: what was left out and why stands above",
    6: "more warnings than allowed",
    INCOMPLETE: "what ran is green, but the tests that need a real model did not run: set APP_MODEL_URL, APP_MODEL_KEY "
    "and APP_MODEL_NAME, or say --without-model",
    GATE_BROKEN: "no test failed, but a gate is broken: see `invoke report.gates`; docs/reports.md says what each measures",
}


def explain(code: int) -> str | None:
    """Say in one line what an exit code means that is neither green nor red."""
    return f"exit code {int(code)}: {MEANING.get(int(code), 'set by a plugin')}" if code not in {0, 1} else None


@contextmanager
def no_end_in_silence(say: Callable[[str], None]) -> Iterator[None]:
    """Have `os._exit` in this process say that the run is not over, and never use the code for green."""
    leave, ours = os._exit, os.getpid()

    def leave_loudly(status: int) -> NoReturn:
        if os.getpid() == ours:
            say(f"os._exit({status}) ended the run before its end: what was not reported by then did not run")
        leave(status or (ENDED_EARLY if os.getpid() == ours else 0))

    os._exit = leave_loudly
    try:
        yield
    finally:
        os._exit = leave
