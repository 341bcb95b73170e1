"""How a service comes up: in phases, with a barrier after each.

The components of one phase start side by side, each after those it names; none starts before the phase before
it is complete. What has started is handed to the CleanupCoordinator at once, so that a start that fails, or is
told to stop half-way, is undone in reverse. A component the service can do without degrades it instead.
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

UNFINISHED_START = "a start that is under way"  # as a thing to clean up


class StartupError(RuntimeError):
    """A required component did not start; everything that had started was undone."""

    def __init__(self, component: str, phase: str, reason: str, next_step: str) -> None:
        super().__init__(f"{component} did not start (phase {phase}): {reason}. Next: {next_step}")
        self.component, self.phase, self.reason, self.next_step = component, phase, reason, next_step


class StartupStoppedError(StartupError):
    """The service was told to stop before it was ready."""


class StartupManager:
    """Starts the components of a service, once, and reports at any time how far it has come."""

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
        self._climb: asyncio.Task[None] | None = None
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
        """Plan a component.

        `timeout` is for each attempt and for the stop, `backoff` doubles each time, and `final` errors end the attempts.
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
        """Start everything; when that fails or is cancelled, undo what was started and raise."""
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
        self._climb = asyncio.create_task(self._run_phases(), name="startup")
        try:
            await self._climb
            self._state = worst(self._plan.components.values())
            self._cleanup.unregister(UNFINISHED_START)
        except StartupError as error:
            await self._undo(State.FAILED, error)
            raise
        except asyncio.CancelledError:
            stopped = self._stopped_half_way()
            await self._undo(State.STOPPED, stopped)
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise stopped from None  # it was not the caller who cancelled, but a cleanup that began meanwhile
        finally:
            self._settled.set()
        return self.report()

    async def wait_ready(self, deadline: float) -> StartupReport:
        """Wait until the service may take requests; raise when it never will, or not in time."""
        try:
            async with asyncio.timeout(deadline):
                await self._settled.wait()
        except TimeoutError:
            raise TimeoutError(f"not ready within {deadline:g} s: {self._whereabouts()}") from None
        if self._failure is not None:
            raise self._failure
        return self.report()

    def report(self) -> StartupReport:
        """Return how far the start has come."""
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
            error = await self._try_to_start(component)
        except asyncio.CancelledError:
            component.state, component.error = State.STOPPED, "told to stop while it was starting"
            raise
        finally:
            component.watch.stop()
        if error is None:
            component.state, component.error = State.READY, ""
        elif component.optional:
            component.state = State.DEGRADED
            logger.warning("the service does without %s: %s", component.name, component.error)
        else:
            component.state = State.FAILED
            raise StartupError(component.name, component.phase, component.error, component.next_step) from error
        component.settled.set()

    async def _try_to_start(self, component: Component) -> BaseException | None:
        allowed = component.retries + 1
        while True:
            component.attempts += 1
            error = await attempt(partial(self._start_and_keep, component), component.timeout)
            if error is None:
                return None
            component.error = f"{describe(error)} (attempt {component.attempts} of {allowed})"
            still_at_work = isinstance(error, OutOfTimeError) and error.abandoned
            if still_at_work or isinstance(error, component.final) or component.attempts == allowed:
                return error
            logger.info("%s did not start yet: %s", component.name, component.error)
            await self._sleep(component.backoff * 2 ** (component.attempts - 1))

    async def _start_and_keep(self, component: Component) -> None:
        await answer(component.start)
        if component.stop is not None:
            self._cleanup.register(
                component.name, component.stop, timeout=component.timeout, critical=not component.optional
            )

    async def _halt(self) -> None:
        """Let a cleanup that begins in the middle of the start find nothing that still grows."""
        if self._climb is not None:
            self._climb.cancel()
            await asyncio.wait({self._climb})

    async def _undo(self, state: State, error: StartupError) -> None:
        self._state, self._failure = state, error
        self._cleanup.unregister(UNFINISHED_START)
        report = await self._cleanup.run(f"the start failed: {error}")
        for component in self._plan.components.values():
            if component.state is State.READY:
                component.state = State.STOPPED
        for handler in report.problems:
            error.add_note(f"when it was undone, {handler.name} {handler.outcome}: {handler.error}")

    def _stopped_half_way(self) -> StartupStoppedError:
        unfinished = [c.name for c in self._plan.components.values() if c.state is State.STOPPED]
        return StartupStoppedError(
            ", ".join(unfinished) or "the service", str(self._phase), "it was told to stop", "start it again"
        )

    def _whereabouts(self) -> str:
        if self._phase is None:
            return "the start has not begun"
        waiting = [c for c in self._plan.members(self._phase) if c.state in (State.PENDING, State.STARTING)]
        named = ", ".join(f"{c.name} ({c.error or c.state})" for c in waiting)
        return f"phase {self._phase} waits for {named or 'what was started to be undone'}"
