"""Which processes this one has started: those it has not waited for, and those whose parent has ended since."""

from __future__ import annotations

import os
import sys
from pathlib import Path

MARK = "TEST_PROCESS"
"""An environment variable that every process below this one inherits, unless it is given an environment without it."""
ZOMBIE = "Z"


def children_of_this_process() -> set[int]:
    """List the processes that this one started and has not waited for."""
    if not _has_children():
        return set()
    try:
        listed = [
            Path(f"/proc/self/task/{thread}/children").read_bytes().split() for thread in os.listdir("/proc/self/task")
        ]
    except OSError:
        import psutil

        return {child.pid for child in psutil.Process().children()}
    return {int(pid) for pids in listed for pid in pids}


def _has_children() -> bool:
    """Ask the system in one call, which costs nothing: most tests start no process."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    except (AttributeError, OSError):
        return True
    return True


class Orphans:
    """Processes below this one whose parent has ended; on Linux, where /proc shows what a process has inherited."""

    def __init__(self) -> None:
        self._mark = f"{os.getpid()}-{os.urandom(8).hex()}"
        self._marked: dict[int, bool] = {}
        self._starts_seen = self._starts_without_orphans = 0

    def start(self) -> None:
        """Mark every process that is started from now on."""
        os.environ[MARK] = self._mark

    def stop(self) -> None:
        os.environ.pop(MARK, None)

    def now(self, starts: int, *, has_children: bool) -> set[int]:
        """List the orphans that run, out of `starts` processes that this one has started.

        The machine's processes are listed only while one below this process may run: a start is announced before its
        process exists, so two lists that show none are needed until the next start.
        """
        if starts == self._starts_without_orphans and not has_children:
            return set()
        try:
            running = {int(name) for name in os.listdir("/proc") if name.isdecimal()}
        except OSError:
            return set()
        for pid in self._marked.keys() - running:
            del self._marked[pid]
        for pid in running - self._marked.keys():
            self._marked[pid] = self._has_mark(pid)
        below = {pid for pid, marked in self._marked.items() if marked} - {os.getpid()}
        if not below and starts == self._starts_seen:
            self._starts_without_orphans = starts
        self._starts_seen = starts
        return {pid for pid in below if _parent(pid) not in {*below, os.getpid(), None}}

    def _has_mark(self, pid: int) -> bool:
        try:
            inherited = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:  # it has ended, or is another user's
            return False
        return f"{MARK}={self._mark}".encode() in inherited.split(b"\0")


def _parent(pid: int) -> int | None:
    """Return a process's parent; None if it has ended."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    return None if state == ZOMBIE else int(parent)


def helpers_of_multiprocessing() -> tuple[set[int], set[int], set[str]]:
    """Return the processes, descriptors and folders that multiprocessing keeps until this process ends."""
    tracker = getattr(sys.modules.get("multiprocessing.resource_tracker"), "_resource_tracker", None)
    server = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    current = getattr(sys.modules.get("multiprocessing.process"), "_current_process", None)
    pids = getattr(tracker, "_pid", None), getattr(server, "_forkserver_pid", None)
    descriptors = getattr(tracker, "_fd", None), getattr(server, "_forkserver_alive_fd", None)
    folder = getattr(current, "_config", {}).get("tempdir")
    return {pid for pid in pids if pid}, {fd for fd in descriptors if fd is not None}, {folder} if folder else set()
