"""A service that is nothing but its state, for tests of what decides rather than of what runs."""

from __future__ import annotations

from collections.abc import Callable

from test_framework import reaper
from test_framework.services.state import Observation, ServiceName, State


class Machine:
    """A service that is nothing but its state: each step moves it, as the real ones do."""

    name = "machine"

    def __init__(self, state: State = State.HEALTHY) -> None:
        self.state = state
        self.steps: list[str] = []
        self.after: dict[str, State] = {
            "start": State.HEALTHY,
            "unpause": State.HEALTHY,
            "pause": State.PAUSED,
            "kill": State.EXITED,
            "stop": State.EXITED,
            "remove": State.ABSENT,
        }
        self.lacks: str | None = None
        self.mends = False
        self.looks = 0
        self.on_look: Callable[[int], None] = lambda look: None

    def missing(self, service: ServiceName) -> str | None:
        return self.lacks

    def observe(self, service: ServiceName) -> Observation:
        self.looks += 1
        self.on_look(self.looks)
        return Observation(self.state, "as scripted")

    def glance(self, service: ServiceName) -> State:
        return self.state

    def step(self, name: str) -> None:
        self.steps.append(name)
        self.state = self.after[name]

    def start(self, service: ServiceName) -> None:
        self.step("start")

    def pause(self, service: ServiceName) -> None:
        self.step("pause")

    def unpause(self, service: ServiceName) -> None:
        self.step("unpause")

    def stop(self, service: ServiceName) -> None:
        self.step("stop")

    def kill(self, service: ServiceName) -> None:
        self.step("kill")

    def remove(self, service: ServiceName, *, data: bool) -> None:
        self.step("remove")

    def clear(self, *, data: bool) -> None:
        self.step("remove")

    def repair(self, service: ServiceName, found: Observation) -> bool:
        if self.mends:
            self.steps.append("repair")
            self.state = State.HEALTHY
        return self.mends

    def frozen(self, service: ServiceName) -> reaper.Registration:
        return {"kind": "paused", "pid": 0, "started": "never"}

    def run_in_data(self, service: ServiceName, line: str) -> None:
        self.steps.append(line)

    def url(self, service: ServiceName) -> str:
        return "machine://"

    def identity(self, service: ServiceName) -> str:
        return "machine"

    def logs(self, service: ServiceName, lines: int) -> str:
        return "the last words"
