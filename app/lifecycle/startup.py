"""How a service comes up: in phases, with a barrier after each.

The components of one phase start side by side, each after those it names; none starts before the phase before
it is complete. What has started is handed to the CleanupCoordinator at once, so that a start that fails, or is
told to stop half-way, is undone in reverse. The plan is checked before anything runs.
"""

from __future__ import annotations

import asyncio
import graphlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from app.lifecycle.attempt import Call, OutOfTimeError, answer, attempt, describe
from app.lifecycle.cleanup import CleanupCoordinator, Priority

logger = logging.getLogger(__name__)

STOP_STARTING = "the start itself"  # the name of the handler that ends a start which is still under way


class Phase(StrEnum):
    SETTINGS = "settings"
    DATABASE = "database"
    MIGRATIONS = "migrations"
    BUS = "bus"
    AGENTS = "agents"
    SOCKETS = "sockets"
    READY = "ready"


class State(StrEnum):
    PENDING = "pending"
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    FAILED = "failed"
    STOPPED = "stopped"


class StartupPlanError(ValueError):
    """The components can't be started in any order: fix the plan, nothing has run."""


class StartupError(RuntimeError):
    """A required component did not start; everything that had started was undone."""

    def __init__(self, component: str, phase: str, reason: str, next_step: str) -> None:
        super().__init__(f"{component!r} did not start (phase {phase!r}): {reason}. Next: {next_step}")
        self.component, self.phase, self.reason, self.next_step = component, phase, reason, next_step


class StartupStoppedError(StartupError):
    """The service was told to stop before it was ready."""


@dataclass(frozen=True, slots=True)
class ComponentReport:
    name: str
    state: State
    attempts: int
    seconds: float
    optional: bool
    error: str


@dataclass(frozen=True, slots=True)
class PhaseReport:
    name: str
    state: State
    seconds: float
    components: tuple[ComponentReport, ...]


@dataclass(frozen=True, slots=True)
class StartupReport:
    state: State
    phase: str | None
    error: str
    phases: tuple[PhaseReport, ...]

    @property
    def ready(self) -> bool:
        """Say whether the service may take requests; a degraded one may."""
        return self.state in (State.READY, State.DEGRADED)


@dataclass(slots=True)
class _Stopwatch:
    began: float | None = None
    ended: float | None = None

    def start(self) -> None:
        self.began = time.monotonic()

    def stop(self) -> None:
        self.ended = time.monotonic()

    @property
    def seconds(self) -> float:
        return 0.0 if self.began is None else (self.ended or time.monotonic()) - self.began


@dataclass(slots=True)
class _Component:
    name: str
    phase: str
    start: Call
    stop: Call | None
    after: tuple[str, ...]
    timeout: float
    retries: int
    backoff: float
    optional: bool
    next_step: str
    state: State = State.PENDING
    attempts: int = 0
    error: str = ""
    watch: _Stopwatch = field(default_factory=_Stopwatch)
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    def report(self) -> ComponentReport:
        return ComponentReport(self.name, self.state, self.attempts, self.watch.seconds, self.optional, self.error)


class StartupManager:
    """Starts the components of a service, and reports at any time how far it has come."""

    def __init__(
        self,
        cleanup: CleanupCoordinator,
        phases: Sequence[str] = tuple(Phase),
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._cleanup = cleanup
        self._sleep = sleep
        self._phases = {str(phase): _Stopwatch() for phase in phases}
        self._components: dict[str, _Component] = {}
        self._state = State.PENDING
        self._phase: str | None = None
        self._failure: StartupError | None = None
        self._climb: asyncio.Task[None] | None = None
        self._halted = asyncio.Event()
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
        next_step: str = "",
    ) -> None:
        """Plan a component: `timeout` holds for each attempt and for the stop, `backoff` doubles every time."""
        if name in self._components:
            raise StartupPlanError(f"two components are named {name!r}: rename one")
        if phase not in self._phases:
            known = ", ".join(self._phases)
            raise StartupPlanError(f"{name!r} is in the unknown phase {str(phase)!r}: the phases are {known}")
        self._components[name] = _Component(
            name, str(phase), start, stop, tuple(after), timeout, retries, backoff, optional, next_step
        )

    def validate(self) -> None:
        """Raise when a dependency is missing, goes round in a circle, or belongs to a later phase."""
        for component in self._components.values():
            for missing in (name for name in component.after if name not in self._components):
                raise StartupPlanError(f"{component.name!r} comes after {missing!r}, which nobody added")
        try:
            graph = {component.name: component.after for component in self._components.values()}
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            circle = " → ".join(reversed(error.args[1]))
            raise StartupPlanError(f"these components wait for each other: {circle}") from None
        order = list(self._phases)
        for component in self._components.values():
            for needed in (self._components[name] for name in component.after):
                if order.index(needed.phase) > order.index(component.phase):
                    raise StartupPlanError(
                        f"{component.name!r} (phase {component.phase!r}) comes after {needed.name!r}, "
                        f"which starts only in the later phase {needed.phase!r}"
                    )

    async def run(self) -> StartupReport:
        """Start everything; when that fails or is cancelled, undo what was started and raise."""
        self.validate()
        if self._state is not State.PENDING:
            raise RuntimeError("this start has run already: make a new StartupManager for another one")
        self._cleanup.register(STOP_STARTING, self._stop_starting, priority=Priority.FIRST)
        self._state = State.STARTING
        self._climb = asyncio.create_task(self._run_phases(), name="startup")
        try:
            await self._climb
            self._state = self._worst(self._components.values())
            self._cleanup.unregister(STOP_STARTING)
            return self.report()
        except StartupError as error:
            self._state = State.FAILED
            await self._undo(error)
            raise
        except asyncio.CancelledError:
            self._state = State.STOPPED
            stopped = self._stopped_half_way()
            await self._undo(stopped)
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            raise stopped from None
        finally:
            self._settled.set()

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
        phases = tuple(self._phase_report(name, watch) for name, watch in self._phases.items())
        return StartupReport(self._state, self._phase, str(self._failure or ""), phases)

    def _phase_report(self, name: str, watch: _Stopwatch) -> PhaseReport:
        members = self._members(name)
        state = State.STARTING if watch.began else State.PENDING
        if watch.ended:
            state = self._worst(members)
        return PhaseReport(name, state, watch.seconds, tuple(member.report() for member in members))

    def _members(self, phase: str) -> list[_Component]:
        return [component for component in self._components.values() if component.phase == phase]

    def _worst(self, components: Iterable[_Component]) -> State:
        states = {component.state for component in components}
        return next((bad for bad in (State.FAILED, State.STOPPED, State.DEGRADED) if bad in states), State.READY)

    async def _run_phases(self) -> None:
        for phase, watch in self._phases.items():
            self._phase = phase
            watch.start()
            try:
                async with asyncio.TaskGroup() as siblings:
                    for component in self._members(phase):
                        siblings.create_task(self._start(component), name=f"start of {component.name}")
            except ExceptionGroup as failures:
                first, *others = failures.exceptions
                for other in others:
                    first.add_note(f"at the same time: {describe(other)}")
                raise first from first.__cause__
            finally:
                watch.stop()

    async def _start(self, component: _Component) -> None:
        for name in component.after:
            await self._components[name].settled.wait()
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
            next_step = component.next_step or "remove the cause, then start again"
            raise StartupError(component.name, component.phase, component.error, next_step) from error
        component.settled.set()

    async def _try_to_start(self, component: _Component) -> BaseException | None:
        tries = component.retries + 1
        while True:
            component.attempts += 1
            error = await attempt(lambda: self._start_and_keep(component), component.timeout)
            if error is None:
                return None
            component.error = f"{describe(error)} (attempt {component.attempts} of {tries})"
            abandoned = isinstance(error, OutOfTimeError) and error.abandoned  # it may still be at work
            if abandoned or component.attempts == tries:
                return error
            logger.info("%s did not start yet: %s", component.name, component.error)
            await self._sleep(component.backoff * 2 ** (component.attempts - 1))

    async def _start_and_keep(self, component: _Component) -> None:
        await answer(component.start)
        if component.stop is not None:
            self._cleanup.register(
                component.name, component.stop, timeout=component.timeout, critical=not component.optional
            )

    async def _stop_starting(self) -> None:
        """Let a cleanup that begins in the middle of the start find nothing that is still growing."""
        if self._climb is not None:
            self._climb.cancel()
            await self._halted.wait()

    async def _undo(self, error: StartupError) -> None:
        self._failure = error
        self._halted.set()
        self._cleanup.unregister(STOP_STARTING)
        report = await self._cleanup.run(f"the start failed: {error}")
        for component in self._components.values():
            if component.state is State.READY:
                component.state = State.STOPPED
        for handler in report.problems:
            error.add_note(f"when it was undone, {handler.name!r} {handler.outcome}: {handler.error}")

    def _stopped_half_way(self) -> StartupStoppedError:
        unfinished = [c.name for c in self._components.values() if c.state is State.STOPPED]
        reason = "the service was told to stop before it was ready"
        return StartupStoppedError(", ".join(unfinished) or "the service", str(self._phase), reason, "start it again")

    def _whereabouts(self) -> str:
        if self._phase is None:
            return "the start has not begun"
        waiting = [c for c in self._members(self._phase) if c.state in (State.PENDING, State.STARTING)]
        named = ", ".join(f"{c.name!r} ({c.error or c.state})" for c in waiting)
        return f"phase {self._phase!r} waits for {named or 'nothing, it is undone'}"
