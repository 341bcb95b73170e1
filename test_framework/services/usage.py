"""What the services of a run use, wherever they are: processes whose parent is gone, and containers, which the engine counts.

The registers of the runs say what was started: those whose owner is a process of the run that asks, be it the controller's
pool or the servers that a worker's tests break.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from test_framework import reaper
from test_framework.services import engine
from test_framework.services.engine_sweep import Wanted
from test_framework.services.process_table import started_at
from test_framework.services.run import owner_of
from test_framework.services.stack import runtime_root
from test_framework.services.state import EngineDownError

ON_ENGINE = frozenset({"compose", "container"})
NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class ContainerUse:
    """What one container holds in memory, and the seconds of a processor that it has used so far."""

    id: str
    memory_bytes: int
    processor_seconds: float
    processes: int


def registrations(owners: Collection[int]) -> Iterator[reaper.Registration]:
    """Yield what the runs of these processes have registered."""
    with suppress(OSError):  # where no run could have been made, nothing was started
        for register in runtime_root().glob("*/register"):
            if owner_of(register.parent) in owners:
                yield from (registration for _, registration in reaper.registered(register))


def processes(registered: Collection[reaper.Registration]) -> Iterator[int]:
    """Yield the processes among what is registered that run."""
    for registration in registered:
        if registration["kind"] == "process" and started_at(registration["pid"]) == registration["started"]:
            yield registration["pid"]


def containers(registered: Collection[reaper.Registration]) -> Iterator[ContainerUse]:
    """Ask the engine what the registered containers use; yield nothing while it does not answer."""
    wanted = [Wanted(one["kind"], one["name"]) for one in registered if one["kind"] in ON_ENGINE]
    try:
        names = dict.fromkeys(name for one in wanted for name in _running(one))
    except EngineDownError:
        return
    for name in names:
        with suppress(EngineDownError, ValueError):  # one that ends meanwhile is answered with nothing at all
            if stats := engine.look(f"/containers/{name}/stats?stream=false&one-shot=true"):
                yield _use(name, stats)


def _running(wanted: Wanted) -> Iterator[str]:
    if filters := wanted.filters("container"):
        for container in engine.look(f"/containers/json?filters={quote(filters)}") or []:
            yield container["Id"]


def _use(name: str, stats: dict[str, Any]) -> ContainerUse:
    memory, processor, pids = (stats.get(part) or {} for part in ("memory_stats", "cpu_stats", "pids_stats"))
    # as `docker stats` does: the file cache that the kernel would drop first is not what the container needs
    detail = memory.get("stats", {})
    cache = detail.get("inactive_file", detail.get("total_inactive_file", 0))
    seconds = processor.get("cpu_usage", {}).get("total_usage", 0) / NANOSECONDS
    return ContainerUse(name, max(0, memory.get("usage", 0) - cache), seconds, pids.get("current", 0))
