"""A test whose time is up ends, whoever is at work in its loop just then, and tells who waited for what.

pytest-timeout raises out of a signal, in whichever line is at work. Where that is in a task of the service, or in a callback,
asyncio keeps the error to itself, and the test would wait on for ever. What ends a program ends a loop as well, wherever it
is raised. Who swallows even that, or hangs in a clean-up, is told again when as much time has passed.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from _pytest.outcomes import Failed

from test_framework.guards.offences import commit


class TimeIsUp(Failed, SystemExit):
    """Fails a test, and ends a loop."""


def watch_time(who_waits: Callable[[], str]) -> Callable[[], None]:
    """Have every time-out end its test, and tell who waits for what; return how to stop."""
    import pytest_timeout

    dump, fail = pytest_timeout.dump_stacks, pytest_timeout.timeout_sigalrm

    def dump_with_tasks(terminal: Any) -> None:
        dump(terminal)
        terminal.write(f"\n{who_waits()}\n")

    def fail_and_end_the_loop(item: object, settings: Any) -> None:
        __tracebackhide__ = True
        try:
            fail(item, settings)
        except Failed as failed:
            signal.setitimer(signal.ITIMER_REAL, settings.timeout)
            raise TimeIsUp(commit(str(failed))) from None  # a test may expect a SystemExit, but not this one

    def stop() -> None:
        pytest_timeout.dump_stacks, pytest_timeout.timeout_sigalrm = dump, fail

    pytest_timeout.dump_stacks, pytest_timeout.timeout_sigalrm = dump_with_tasks, fail_and_end_the_loop
    return stop
