"""The start of a service: in phases, with a barrier after each.

The components of one phase start concurrently, each after those that it names; a phase starts when the one before it is
complete. A component that has started is registered with the CleanupCoordinator at once, so that a start that fails or
is stopped is undone in reverse. An optional component that fails degrades the service instead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

from commitstream.lifecycle.attempt import Call, OutOfTimeError, answer, attempt, describe
from commitstream.lifecycle.cleanup import CleanupCoordinator, Priority
from commitstream.lifecycle.plan import Component, Phase, Plan, StartupPlanError, StartupReport, State, worst

logger = logging.getLogger(__name__)

UNFINISHED_START = "an unfinished start"  # the name of its cleanup handler


class StartupError(RuntimeError):
    """A required component did not start; all components that had started were stopped."""

    def __init__(self, component: str, phase: str, reason: str, next_step: str) -> None:
        super().__init__(f"{component} did not start (phase {phase}): {reason}. Next: {next_step}")
        self.component, self.phase, self.reason, self.next_step = component, phase, reason, next_step


class StartupStoppedError(StartupError):
    """The service was stopped before it was ready."""


class StartupManager:
    """Starts the components of a service, once, and reports its progress at any time."""

    def __init__(
        self,
        cleanup: CleanupCoordinator,
        phases: Sequence[str] = tuple(Phase),
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._cleanup = cleanup
        self._plan = Plan(phases)
        self._sleep = sleep
        self._state = State.PENDING
        self._phase: str | None = None
        self._failure: StartupError | StartupPlanError | None = None
        self._task: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()

    def add(
        self,
        name: str,
        *,
        phase: str,
        start: Call,
        stop: Call | None = None,
        after: Iterable[str] = (),
        timeout: float = 10.0,
        retries: int = 0,
        backoff: float = 0.2,
        optional: bool = False,
        next_step: str = "remove the cause, then start again",
        final: tuple[type[Exception], ...] = (),
    ) -> None:
        """Add a component.

        Args:
            name: how reports, log lines and other components name it.
            phase: the phase that it starts in.
            start: starts it; a coroutine function, or a function that runs in a thread.
            stop: stops it; registered with the cleanup once it has started.
            after: names of components that start before it.
            timeout: seconds for each attempt to start it, and for its stop.
            retries: how often a failed attempt is repeated.
            backoff: seconds before the first retry; doubles each time.
            optional: whether the service starts without it, degraded.
            next_step: what an error says to do.
            final: errors that are not retried.
        """
        self._plan.add(
            Component(
                name, str(phase), start, stop, tuple(after), timeout, retries, backoff, optional, next_step, final
            )
        )

    def validate(self) -> None:
        """Raise StartupPlanError when the components can't be started in any order."""
        self._plan.validate()

    async def run(self) -> StartupReport:
        """Start all components; when that fails or is cancelled, stop those that were started and raise."""
        if self._state is not State.PENDING:
            raise RuntimeError("this start has run already: make a new StartupManager for another one")
        try:
            self.validate()
        except StartupPlanError as error:
            self._state, self._failure = State.FAILED, error
            self._settled.set()
            raise
        self._cleanup.register(UNFINISHED_START, self._halt, priority=Priority.FIRST)
        self._state = State.STARTING
        self._task = asyncio.create_task(self._run_phases(), name="startup")
        try:
            await self._task
            self._state = worst(self._plan.components.values())
            self._cleanup.unregister(UNFINISHED_START)
        except StartupError as error:
            await self._undo(State.FAILED, error)
            raise
        except asyncio.CancelledError:
            stopped = self._stopped_error()
            await self._undo(State.STOPPED, stopped)
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise stopped from None  # a cleanup that started meanwhile cancelled it, not the caller
        finally:
            self._settled.set()
        return self.report()

    async def wait_ready(self, timeout: float) -> StartupReport:
        """Wait until the service may take requests; raise when the start fails, or is not complete in time."""
        try:
            async with asyncio.timeout(timeout):
                await self._settled.wait()
        except TimeoutError:
            raise TimeoutError(f"not ready within {timeout:g} s: {self._progress()}") from None
        if self._failure is not None:
            raise self._failure
        return self.report()

    def report(self) -> StartupReport:
        """Return the state of the start, phase by phase."""
        return StartupReport(self._state, self._phase, str(self._failure or ""), self._plan.report())

    async def _run_phases(self) -> None:
        for phase, watch in self._plan.phases.items():
            self._phase = phase
            watch.start()
            try:
                async with asyncio.TaskGroup() as siblings:
                    for component in self._plan.members(phase):
                        siblings.create_task(self._start(component), name=f"start of {component.name}")
            except ExceptionGroup as failures:
                first, *others = failures.exceptions
                for other in others:
                    first.add_note(f"at the same time: {other}")
                raise first from first.__cause__
            finally:
                watch.stop()

    async def _start(self, component: Component) -> None:
        for name in component.after:
            await self._plan.components[name].settled.wait()
        component.state = State.STARTING
        component.watch.start()
        try:
            error = await self._start_with_retries(component)
        except asyncio.CancelledError:
            component.state, component.error = State.STOPPED, "stopped while it was starting"
            raise
        finally:
            component.watch.stop()
        if error is None:
            component.state, component.error = State.READY, ""
        elif component.optional:
            component.state = State.DEGRADED
            logger.warning("the service starts without %s: %s", component.name, component.error)
        else:
            component.state = State.FAILED
            raise StartupError(component.name, component.phase, component.error, component.next_step) from error
        component.settled.set()

    async def _start_with_retries(self, component: Component) -> BaseException | None:
        allowed = component.retries + 1
        while True:
            component.attempts += 1
            error = await attempt(partial(self._start_and_register, component), component.timeout)
            if error is None:
                return None
            component.error = f"{describe(error)} (attempt {component.attempts} of {allowed})"
            still_running = isinstance(error, OutOfTimeError) and error.abandoned
            if still_running or isinstance(error, component.final) or component.attempts == allowed:
                return error
            logger.info("%s did not start yet: %s", component.name, component.error)
            await self._sleep(component.backoff * 2 ** (component.attempts - 1))

    async def _start_and_register(self, component: Component) -> None:
        await answer(component.start)
        if component.stop is not None:
            self._cleanup.register(
                component.name, component.stop, timeout=component.timeout, critical=not component.optional
            )

    async def _halt(self) -> None:
        """Stop a start that is not complete when the cleanup runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _undo(self, state: State, error: StartupError) -> None:
        self._state, self._failure = state, error
        self._cleanup.unregister(UNFINISHED_START)
        report = await self._cleanup.run(f"the start failed: {error}")
        for component in self._plan.components.values():
            if component.state is State.READY:
                component.state = State.STOPPED
        for handler in report.problems:
            error.add_note(f"when it was undone, {handler.name} {handler.outcome}: {handler.error}")

    def _stopped_error(self) -> StartupStoppedError:
        unfinished = [c.name for c in self._plan.components.values() if c.state is State.STOPPED]
        return StartupStoppedError(
            ", ".join(unfinished) or "the service", str(self._phase), "it was stopped", "start it again"
        )

    def _progress(self) -> str:
        if self._phase is None:
            return "the start has not run yet"
        waiting = [c for c in self._plan.members(self._phase) if c.state in (State.PENDING, State.STARTING)]
        named = ", ".join(f"{c.name} ({c.error or c.state})" for c in waiting)
        return f"phase {self._phase} waits for {named or 'the cleanup of what was started'}"
