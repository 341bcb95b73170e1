"""Cleanup at the end of a process.

Code that opens a resource registers a handler that closes it. When the process ends, for whatever reason, the
coordinator runs the handlers one by one: a higher priority first, within one priority the newest first. No handler
can stop the others: one that raises is reported, one that hangs is abandoned at its timeout.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cache, partial
from types import TracebackType
from typing import Self, TypeVar

from commitstream.lifecycle.attempt import Call, OutOfTimeError, attempt, describe
from commitstream.lifecycle.children import Child, end_child, kill_child

logger = logging.getLogger(__name__)

KILL_SECONDS = 2.0

AnyHandler = TypeVar("AnyHandler", bound=Call)


class Priority(IntEnum):
    """FIRST stops new work, NORMAL closes resources, LAST closes what those still need."""

    FIRST = 30
    NORMAL = 20
    LAST = 10


class Outcome(StrEnum):
    OK = "ok"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    ABANDONED = "abandoned"
    SKIPPED = "skipped"


class TooLateError(RuntimeError):
    """A handler was registered after the cleanup had run."""


@dataclass(frozen=True, slots=True)
class HandlerReport:
    name: str
    outcome: Outcome
    seconds: float
    critical: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class CleanupReport:
    reason: str
    seconds: float
    handlers: tuple[HandlerReport, ...]

    @property
    def problems(self) -> tuple[HandlerReport, ...]:
        """The handlers that failed, timed out or were skipped, in the order in which they ran."""
        return tuple(handler for handler in self.handlers if handler.outcome is not Outcome.OK)

    @property
    def exit_code(self) -> int:
        """1 when a critical handler did not succeed, else 0."""
        return int(any(handler.critical for handler in self.problems))


@dataclass(frozen=True, slots=True)
class _Registration:
    name: str
    handler: Call
    rank: tuple[int, int]
    timeout: float
    critical: bool
    last_resort: Callable[[], None] | None = None


class CleanupCoordinator:
    """Runs every registered handler once. A forked child starts without handlers."""

    @staticmethod
    def of_this_process() -> CleanupCoordinator:
        """Return the process's coordinator; an app within another program makes its own."""
        return _of_this_process()

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._pid = os.getpid()
        self._registered: dict[str, _Registration] = {}
        self._registrations = 0
        self._finished: list[HandlerReport] = []
        self._report: CleanupReport | None = None
        self._running: asyncio.Task[None] | None = None
        self._interrupt: asyncio.Future[None] | None = None
        self._forced = False

    def register(
        self,
        name: str,
        handler: Call,
        *,
        priority: int = Priority.NORMAL,
        timeout: float = 10.0,
        critical: bool = False,
        last_resort: Callable[[], None] | None = None,
    ) -> None:
        """Run a handler at the end of the process.

        An async handler runs in the event loop, any other in a separate thread.

        Args:
            name: how reports and log lines name the handler.
            handler: closes the resource.
            priority: handlers of a higher priority run first; within one, the newest first.
            timeout: seconds until the handler is cancelled.
            critical: whether a failure makes the exit code 1.
            last_resort: called where the handler is skipped, times out or is abandoned; it must return at once.

        Raises:
            TooLateError: The cleanup has run.
            ValueError: A handler of this name is registered already.
        """
        self._reset_after_fork()
        if self._report is not None:
            raise TooLateError(
                f"{name!r} comes too late, everything was cleaned up ({self._report.reason}): "
                "close it yourself, or call reset() before a new start"
            )
        if name in self._registered:
            raise ValueError(f"a cleanup handler named {name!r} exists already: unregister it, or choose a name")
        self._registrations += 1
        rank = (priority, self._registrations)
        self._registered[name] = _Registration(name, handler, rank, timeout, critical, last_resort)

    def register_child(
        self, name: str, child: Child, *, priority: int = Priority.NORMAL, grace: float = 5.0, critical: bool = False
    ) -> None:
        """Terminate a child process at the end; kill it after its grace period, or when the end is forced."""
        self.register(
            name,
            partial(end_child, child, grace),
            priority=priority,
            timeout=grace + KILL_SECONDS,
            critical=critical,
            last_resort=partial(kill_child, child),
        )

    def unregister(self, name: str) -> bool:
        """Remove a handler, and return whether there was one."""
        self._reset_after_fork()
        return self._registered.pop(name, None) is not None

    def handler(
        self, name: str, *, priority: int = Priority.NORMAL, timeout: float = 10.0, critical: bool = False
    ) -> Callable[[AnyHandler], AnyHandler]:
        """Register the decorated function."""

        def decorate(function: AnyHandler) -> AnyHandler:
            self.register(name, function, priority=priority, timeout=timeout, critical=critical)
            return function

        return decorate

    @contextmanager
    def registered(
        self,
        name: str,
        handler: Call,
        *,
        priority: int = Priority.NORMAL,
        timeout: float = 10.0,
        critical: bool = False,
    ) -> Iterator[None]:
        """Keep a handler registered while a block runs, for a resource that the block itself closes."""
        self.register(name, handler, priority=priority, timeout=timeout, critical=critical)
        try:
            yield
        finally:
            self.unregister(name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.run("the block ended" if error is None else f"the block raised {describe(error)}")

    async def run(self, reason: str, timeout: float | None = None) -> CleanupReport:
        """Run every handler, once: a second call waits for the first and returns the same report.

        Handlers that have not started after the timeout are skipped.
        """
        self._reset_after_fork()
        while self._report is None:
            if self._running is None or self._running.done():
                self._running = asyncio.create_task(self._run_all(reason, timeout), name=f"cleanup: {reason}")
            await asyncio.shield(self._running)
        return self._report

    def force(self) -> None:
        """Abandon the handler that runs and skip the others. To be called in the event loop."""
        self._reset_after_fork()
        self._forced = True
        if self._interrupt is not None and not self._interrupt.done():
            self._interrupt.set_result(None)

    def reset(self) -> None:
        """Remove all handlers and the report, for a new start in the same process."""
        if self._running is not None and not self._running.done() and self._pid == os.getpid():
            raise RuntimeError("the cleanup is running: await run() before reset()")
        self._clear()

    def _reset_after_fork(self) -> None:
        if self._pid != os.getpid():
            self._clear()

    async def _run_all(self, reason: str, timeout: float | None) -> None:
        began = time.monotonic()
        self._interrupt = asyncio.get_running_loop().create_future()
        while self._registered:  # not a copy: handlers that are registered meanwhile run too
            registration = max(self._registered.values(), key=lambda candidate: candidate.rank)
            del self._registered[registration.name]
            left = None if timeout is None else began + timeout - time.monotonic()
            self._finished.append(await self._run_one(registration, left, timeout))
        self._report = CleanupReport(reason, time.monotonic() - began, tuple(self._finished))

    async def _run_one(self, registration: _Registration, left: float | None, total: float | None) -> HandlerReport:
        if self._forced:
            return self._judge(registration, Outcome.SKIPPED, 0.0, "the end was forced")
        if left is not None and left <= 0:
            return self._judge(registration, Outcome.SKIPPED, 0.0, f"the timeout of {total:g} s was over")
        timeout = registration.timeout if left is None else min(registration.timeout, left)
        began = time.monotonic()
        error = await attempt(registration.handler, timeout, self._interrupt)
        seconds = time.monotonic() - began
        if error is None:
            return self._judge(registration, Outcome.OK, seconds)
        if not isinstance(error, OutOfTimeError):
            return self._judge(registration, Outcome.FAILED, seconds, describe(error), error)
        if self._forced:
            return self._judge(registration, Outcome.ABANDONED, seconds, "the end was forced while it ran")
        return self._judge(registration, Outcome.TIMED_OUT, seconds, str(error))

    def _judge(
        self,
        registration: _Registration,
        outcome: Outcome,
        seconds: float,
        reason: str = "",
        error: BaseException | None = None,
    ) -> HandlerReport:
        if outcome not in {Outcome.OK, Outcome.FAILED} and registration.last_resort is not None:
            registration.last_resort()
        if outcome is not Outcome.OK:
            logger.error("cleanup of %s: %s, %s", registration.name, outcome, reason, exc_info=error)
        return HandlerReport(registration.name, outcome, seconds, registration.critical, reason)


@cache
def _of_this_process() -> CleanupCoordinator:
    return CleanupCoordinator()
