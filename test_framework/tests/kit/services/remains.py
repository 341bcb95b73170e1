"""What of a run can be seen from outside, for tests that it is gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from test_framework.services import engine
from test_framework.services.engine_sweep import COMPOSE_PROJECT_LABEL
from test_framework.services.stack import Stack, runtime_root


@dataclass
class Remains:
    """What of a run can be seen from outside."""

    stack: Stack
    found: list[str] = field(default_factory=list)

    def look(self, *, containers: bool) -> list[str]:
        self.found = [str(path) for path in runtime_root().iterdir() if self.stack.run in path.name]
        self.found += [f"process {process.pid}" for process in psutil.process_iter() if self.is_of_the_run(process)]
        if containers:
            client = engine.connect()
            labels = {"label": f"{COMPOSE_PROJECT_LABEL}={self.stack.name}"}
            self.found += [f"container {one['Names']}" for one in client.api.containers(all=True, filters=labels)]
            self.found += [f"network {one['Name']}" for one in client.api.networks(filters=labels)]
            self.found += [f"volume {one['Name']}" for one in client.api.volumes(filters=labels)["Volumes"] or []]
            client.close()
        return self.found

    def is_of_the_run(self, process: psutil.Process) -> bool:
        try:
            ended = process.status() == psutil.STATUS_ZOMBIE
            return not ended and any(self.stack.run in word for word in (*process.cmdline(), process.cwd()))
        except (psutil.Error, OSError):
            return False


def gone_within(seconds: float, look: Callable[[], list[str]]) -> float | None:
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if not look():
            return time.monotonic() - began
        time.sleep(0.02)
    return None
