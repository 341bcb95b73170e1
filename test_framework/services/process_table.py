"""Processes by id and start time, so that none is ever taken for another that has got its id.

It asks Linux itself, which takes microseconds; elsewhere psutil.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Collection, Iterable
from pathlib import Path

RUNNING, STOPPED = "running", "stopped"
SEGMENT_LINE = 6


def look_at(pid: int) -> tuple[str, str] | None:
    """Return a process's start stamp, which tells it from a later one with the same id, and its state; None when it ended."""
    if sys.platform == "linux":
        try:
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if after_name[0] in "ZX" else (after_name[19], STOPPED if after_name[0] in "Tt" else RUNNING)
    import psutil

    try:
        process = psutil.Process(pid)
        status = process.status()
        if status == psutil.STATUS_ZOMBIE:
            return None
        return str(process.create_time()), STOPPED if status == psutil.STATUS_STOPPED else RUNNING
    except psutil.NoSuchProcess:
        return None


def started_at(pid: int) -> str | None:
    found = look_at(pid)
    return found[0] if found else None


def is_running(pid: int, started: str) -> bool:
    """Say whether that very process still runs."""
    with contextlib.suppress(OSError):
        os.waitpid(pid, os.WNOHANG)  # our own child would stay a zombie for ever
    return started_at(pid) == started


def descendants(pid: int) -> list[int]:
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def servers_at_work_in(home: Path, programs: Collection[str]) -> set[int]:
    """Return the processes of a server whose working directory is this one: no other program works there."""
    import psutil

    found: set[int] = set()
    for process in psutil.process_iter() if programs else ():
        with contextlib.suppress(psutil.Error, OSError):
            if process.name() in programs and Path(process.cwd()) == home:
                found.add(process.pid)
    return found


def listens(pid: int, port: int) -> bool:
    """Say whether a process, or one that it has started, listens on a TCP port."""
    import psutil

    try:
        for process in (root := psutil.Process(pid), *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                for connection in process.net_connections(kind="tcp"):
                    if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,):
                        return True
    except psutil.Error:
        return False
    return False


def release_shared_memory(home: Path) -> None:
    """Give back the segment that a killed Postgres left: its number stands in the lock file of its data directory."""
    with contextlib.suppress(OSError, ValueError, IndexError, AttributeError):
        segment = int((home / "postmaster.pid").read_text().splitlines()[SEGMENT_LINE].split()[1])
        import ctypes

        ctypes.CDLL(None).shmctl(segment, 0, None)  # 0 is IPC_RMID


def send(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def wait_until_ended(family: dict[int, str], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(is_running(pid, started) for pid, started in family.items()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
