"""The plan of a service's start: components in ordered phases, and the state of each.

The plan is validated as a whole before any component starts; reports are immutable snapshots of it.
"""

from __future__ import annotations

import asyncio
import graphlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from commitstream.lifecycle.attempt import Call


class Phase(StrEnum):
    """The phases of this service, in their order."""

    SETTINGS = "settings"
    DATABASE = "database"
    MIGRATIONS = "migrations"
    BUS = "bus"
    DOMAINS = "domains"
    SOCKETS = "sockets"
    READY = "ready"


class State(StrEnum):
    """The state of a component, a phase or the service."""

    PENDING = "pending"
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    FAILED = "failed"
    STOPPED = "stopped"


class StartupPlanError(ValueError):
    """The components can't be started in any order; none was started."""


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
        """Whether the service may take requests; a degraded one may."""
        return self.state in (State.READY, State.DEGRADED)


@dataclass(slots=True)
class Stopwatch:
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
class Component:
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
    final: tuple[type[Exception], ...]
    state: State = State.PENDING
    attempts: int = 0
    error: str = ""
    watch: Stopwatch = field(default_factory=Stopwatch)
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    def report(self) -> ComponentReport:
        return ComponentReport(self.name, self.state, self.attempts, self.watch.seconds, self.optional, self.error)


class Plan:
    """The components by name and the phases in order, both in the order in which they were added."""

    def __init__(self, phases: Sequence[str]) -> None:
        self.phases = {str(phase): Stopwatch() for phase in phases}
        self.components: dict[str, Component] = {}

    def add(self, component: Component) -> None:
        """Add a component under a new name, to a phase that exists."""
        if component.name in self.components:
            raise StartupPlanError(f"two components are named {component.name!r}: rename one")
        if component.phase not in self.phases:
            raise StartupPlanError(
                f"{component.name!r} is in the unknown phase {component.phase!r}: "
                f"the phases are {', '.join(self.phases)}"
            )
        self.components[component.name] = component

    def members(self, phase: str) -> list[Component]:
        """Return the components of one phase."""
        return [component for component in self.components.values() if component.phase == phase]

    def validate(self) -> None:
        """Raise when a dependency is missing, cyclic, or belongs to a later phase."""
        self._refuse_missing()
        self._refuse_circles()
        self._refuse_wrong_order()

    def report(self) -> tuple[PhaseReport, ...]:
        """Return a snapshot of every phase."""
        return tuple(self._phase_report(name, watch) for name, watch in self.phases.items())

    def _phase_report(self, name: str, watch: Stopwatch) -> PhaseReport:
        members = self.members(name)
        state = State.PENDING if watch.began is None else State.STARTING
        if watch.ended is not None:
            state = worst(members)
        return PhaseReport(name, state, watch.seconds, tuple(member.report() for member in members))

    def _refuse_missing(self) -> None:
        for component in self.components.values():
            for name in component.after:
                if name not in self.components:
                    raise StartupPlanError(f"{component.name!r} comes after {name!r}, which was not added")

    def _refuse_circles(self) -> None:
        graph = {component.name: component.after for component in self.components.values()}
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            circle = " → ".join(reversed(error.args[1]))
            raise StartupPlanError(f"these components wait for each other: {circle}") from None

    def _refuse_wrong_order(self) -> None:
        order = list(self.phases)
        for component in self.components.values():
            for needed in (self.components[name] for name in component.after):
                if order.index(needed.phase) > order.index(component.phase):
                    raise StartupPlanError(
                        f"{component.name!r} (phase {component.phase!r}) comes after {needed.name!r}, "
                        f"which starts only in the later phase {needed.phase!r}"
                    )


def worst(components: Iterable[Component]) -> State:
    """Return the combined state of components, once none of them is starting any more."""
    states = {component.state for component in components}
    from_bad_to_good = (State.FAILED, State.STOPPED, State.PENDING, State.DEGRADED)
    return next((state for state in from_bad_to_good if state in states), State.READY)
