"""A process and all that it has started, services and their containers included: what they use together."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from test_framework.services import usage

SOCKET_TABLES = [Path(f"/proc/net/{table}") for table in ("tcp", "tcp6", "udp", "udp6")]
INODE = 9


@dataclass(frozen=True)
class Use:
    """What all of them use. `services_bytes` is the part of the memory that the run's services hold outside the tree."""

    memory_bytes: int
    cpu: float
    files: int
    connections: int
    processes: int
    services_bytes: int = 0


class ProcessTree:
    """This process, its descendants, and the services that they started.

    Memory that several processes share counts once, where the system reports it.
    """

    def __init__(self) -> None:
        self._root = psutil.Process()
        self._spent = _spent(self._members())
        self._looked = time.monotonic()

    def look(self) -> Use:
        """Add up what all of them use now; the processor's share is since the last look."""
        memory = files = connections = processes = services_bytes = 0
        tree = self._members()
        registered = list(usage.registrations({process.pid for process in tree}))
        outside = _outside(tree, usage.processes(registered))
        members = [*tree, *outside]
        known = _sockets()
        for process in members:
            with suppress(OSError, psutil.Error), process.oneshot():
                held = _memory(process)
                memory += held
                services_bytes += held if process in outside else 0
                files += _open_files(process)
                connections += _connections(process, known)
                processes += 1
        containers = list(usage.containers(registered))
        in_containers = sum(container.memory_bytes for container in containers)
        spent: dict[object, float] = {container.id: container.processor_seconds for container in containers}
        return Use(
            memory + in_containers,
            self._share(spent | _spent(members)),
            files,
            connections,
            processes + sum(container.processes for container in containers),
            services_bytes + in_containers,
        )

    def _share(self, spent: dict[object, float]) -> float:
        now = time.monotonic()
        used = sum(seconds - self._spent.get(one, 0.0) for one, seconds in spent.items())
        elapsed, self._spent, self._looked = now - self._looked, spent, now
        return round(100 * max(0.0, used) / elapsed, 1) if elapsed else 0.0

    def _members(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)]


def _outside(tree: list[psutil.Process], services: Iterable[int]) -> list[psutil.Process]:
    """Find the processes of services whose parent has ended, and what they started."""
    found: dict[int, psutil.Process] = {}
    for pid in services:
        with suppress(psutil.Error):
            service = psutil.Process(pid)
            found |= {process.pid: process for process in (service, *service.children(recursive=True))}
    return [process for pid, process in found.items() if process not in tree]


def _memory(process: psutil.Process) -> int:
    """What would be free without it: pages that several have, as Postgres's have their buffers, are divided between them."""
    if sys.platform == "linux":
        with suppress(psutil.AccessDenied):
            return int(process.memory_full_info().pss)
    return int(process.memory_info().rss)


def _open_files(process: psutil.Process) -> int:
    count: int = getattr(process, "num_handles" if sys.platform == "win32" else "num_fds")()
    return count


def _sockets() -> frozenset[str]:
    """What Linux calls the sockets of all connections; asked process by process, it would list them all each time."""
    names: list[str] = []
    for table in SOCKET_TABLES:
        with suppress(OSError):
            names += [f"socket:[{line.split()[INODE]}]" for line in table.read_text().splitlines()[1:]]
    return frozenset(names)


def _connections(process: psutil.Process, known: frozenset[str]) -> int:
    if sys.platform != "linux":
        return len(process.net_connections("inet"))
    links = set()
    for descriptor in os.scandir(f"/proc/{process.pid}/fd"):
        with suppress(OSError):  # it is closed by now
            links.add(os.readlink(descriptor.path))
    return len(links & known)


def _spent(members: list[psutil.Process]) -> dict[object, float]:
    spent: dict[object, float] = {}
    for process in members:
        with suppress(OSError, psutil.Error):
            times = process.cpu_times()
            spent[process.pid] = times.user + times.system
    return spent
