"""A process and all that it has started, seen as one: what they use together."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

SOCKET_TABLES = [Path(f"/proc/net/{table}") for table in ("tcp", "tcp6", "udp", "udp6")]
INODE = 9


@dataclass(frozen=True)
class Use:
    memory_bytes: int
    cpu: float
    files: int
    connections: int
    processes: int


class ProcessTree:
    """This process and its descendants. Memory that several share counts once, where the system can tell."""

    def __init__(self) -> None:
        self._root = psutil.Process()
        self._spent = _spent(self._members())
        self._looked = time.monotonic()

    def look(self) -> Use:
        """Add up what all of them use now; the processor's share is since the last look."""
        memory = files = connections = processes = 0
        members = self._members()
        known = _sockets()
        for process in members:
            with suppress(OSError, psutil.Error), process.oneshot():
                memory += _memory(process)
                files += _open_files(process)
                connections += _connections(process, known)
                processes += 1
        return Use(memory, self._share(members), files, connections, processes)

    def _share(self, members: list[psutil.Process]) -> float:
        spent, now = _spent(members), time.monotonic()
        used = sum(seconds - self._spent.get(pid, 0.0) for pid, seconds in spent.items())
        elapsed, self._spent, self._looked = now - self._looked, spent, now
        return round(100 * max(0.0, used) / elapsed, 1) if elapsed else 0.0

    def _members(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)]


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


def _spent(members: list[psutil.Process]) -> dict[int, float]:
    spent: dict[int, float] = {}
    for process in members:
        with suppress(OSError, psutil.Error):
            times = process.cpu_times()
            spent[process.pid] = times.user + times.system
    return spent
