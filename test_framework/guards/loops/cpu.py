"""Computing stops the loop as waiting does: each step of it is held to half a second of the thread's CPU time.

CPU time and not the clock: a starved machine makes a step long, and takes no CPU time for it. It is read ten times a second
at most, since that costs more than most steps; what a step has used is therefore known but for a tenth of a second, which is
given to it. A timer that runs with the process's CPU time finds out where a long step is.
"""

from __future__ import annotations

import asyncio
import functools
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from test_framework.guards.leaks.origins import Line, is_ours, stack
from test_framework.guards.loops.allowed import is_allowed
from test_framework.guards.offences import commit, excused

LIMIT_SECONDS = 0.5
READ_EVERY_SECONDS = 0.1
SAMPLE_AFTER_SECONDS, SAMPLE_EVERY_SECONDS = 0.2, 0.1


class _Reading(threading.local):
    """What this thread's clocks said when they were last read."""

    at = float("-inf")
    cpu = 0.0
    modules = 0


class _Samples:
    """Where the main thread was when the timer last rang, and in which step."""

    def __init__(self) -> None:
        self.step = 0.0
        self._found: tuple[float, tuple[Line, ...]] = (0.0, ())
        self._before: object = None
        self._can = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()

    def start(self) -> None:
        if self._can:
            self._before = signal.signal(signal.SIGPROF, self._take)
            signal.siginterrupt(signal.SIGPROF, False)

    def stop(self) -> None:
        if self._can:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, self._before)  # type: ignore[arg-type]

    def wind(self) -> None:
        """Let the timer ring if this step goes on."""
        if self._can and threading.current_thread() is threading.main_thread():
            signal.setitimer(signal.ITIMER_PROF, SAMPLE_AFTER_SECONDS, SAMPLE_EVERY_SECONDS)

    def of(self, step: float) -> tuple[Line, ...]:
        """Return the lines of the last sample of this step, innermost first."""
        return self._found[1] if self._found[0] == step else ()

    def _take(self, _: int, frame: FrameType | None) -> None:
        lines = []
        for caller in stack(frame):
            if caller.f_code.co_filename == __file__:
                break
            lines.append(Line(caller.f_code.co_filename, caller.f_lineno, caller.f_code.co_name))
        self._found = self.step, tuple(lines)


def watch_cpu(root: Path) -> Callable[[], None]:
    """Refuse steps of a loop that compute for too long; return how to stop."""
    run, reading, samples, clock = asyncio.Handle._run, _Reading(), _Samples(), time.monotonic

    @functools.wraps(run)
    def run_and_measure(handle: asyncio.Handle) -> None:
        began = samples.step = clock()
        if began - reading.at > READ_EVERY_SECONDS:
            reading.at, reading.cpu, reading.modules = began, time.thread_time(), len(sys.modules)
            samples.wind()
        run(handle)
        if clock() - began >= LIMIT_SECONDS:
            used = time.thread_time() - reading.cpu - (began - reading.at)
            imported = len(sys.modules) > reading.modules  # it happens once, for the first user of a library
            reading.at = float("-inf")
            if used >= LIMIT_SECONDS and not imported:
                _refuse(handle, used, samples.of(began), root)

    samples.start()
    asyncio.Handle._run = run_and_measure  # type: ignore[assignment, method-assign]

    def stop() -> None:
        asyncio.Handle._run = run  # type: ignore[method-assign]
        samples.stop()

    return stop


def _refuse(handle: asyncio.Handle, used: float, lines: tuple[Line, ...], root: Path) -> None:
    if excused(lines) or any(is_allowed(line, root) for line in lines):
        return
    task = getattr(getattr(handle, "_callback", None), "__self__", None)
    what = f"task {task.get_name()!r}" if isinstance(task, asyncio.Task) else repr(handle)
    at = next((f", {line}" for line in lines if is_ours(line.file)), "")
    commit(
        f"{used:.1f} s of computing without a pause in {what} stop everything else on the loop{at}:"
        " asyncio.to_thread(…), or pause with await asyncio.sleep(0), or say why it must be so:"
        " `# on purpose: <why>`, or [tool.guards.may_block]"
    )
