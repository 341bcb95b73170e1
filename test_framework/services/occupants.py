"""Who has a file open, and who listens on a port: named as a person would look for them, by program and pid."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path

import psutil

ANOTHER_USERS = "another user's program"


def holders_of(files: Iterable[Path]) -> list[str]:
    """Name the processes that have one of these files open, as far as we may look."""
    wanted = {str(file.resolve()) for file in files if file.exists()}
    if not wanted:
        return []
    return [_name(process) for process in psutil.process_iter() if _open_files(process) & wanted]


def listener_on(port: int, host: str = "127.0.0.1") -> str | None:
    """Name who listens on a port, or return None when it can be had."""
    with socket.socket() as probe:
        # as servers do: a port whose last connections are still closing is free
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return _listener(port)
    return None


def listeners() -> dict[int, str] | None:
    """Name the process behind each TCP port that is listened on; None where this user may not look."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    listening = [one for one in connections if one.status == psutil.CONN_LISTEN]
    return {port: _name_of(one.pid) if one.pid else ANOTHER_USERS for one in listening for port in one.laddr[1:2]}


def _listener(port: int) -> str:
    return (listeners() or {}).get(port, ANOTHER_USERS)


def _open_files(process: psutil.Process) -> set[str]:
    try:
        return {opened.path for opened in process.open_files()}
    except (psutil.Error, OSError):
        return set()


def _name_of(pid: int) -> str:
    try:
        return _name(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return f"pid {pid}"


def _name(process: psutil.Process) -> str:
    try:
        return f"{process.name()} (pid {process.pid})"
    except psutil.Error:
        return f"pid {process.pid}"
