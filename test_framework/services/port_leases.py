"""Leases on TCP ports that no two processes of this machine's user can hold at once, and that no dead process keeps.

A lease is a locked file named after its port, so the operating system drops it with its holder. A command that ends at once
leases on behalf of a longer-lived process, its parent unless told otherwise, whose id and start time are written into the file.
A port is leased only when it can be bound on IPv4 and IPv6 and no container publishes it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from test_framework import CHECKOUT
from test_framework.services import process_table
from test_framework.services.stack import own_directory, runtime_root

# below what operating systems hand out by themselves, so that nobody gets one of ours by chance
FIRST, LAST = 20_000, 31_999
RANGE_VARIABLE = "TEST_PORTS"
ENGINE_SECONDS = 3.0


class PortError(Exception):
    """No port could be leased, or a lease does not hold: what, why, and what to do."""


@dataclass(frozen=True)
class Holder:
    """The process that a lease lives and dies with."""

    pid: int
    started: str
    checkout: str
    name: str

    @property
    def lives(self) -> bool:
        return process_table.is_running(self.pid, self.started)


@dataclass
class Lease:
    """One port that is ours until it is released or its holder ends."""

    port: int
    holder: Holder
    lock: FileLock

    def release(self) -> None:
        record(self.port).unlink(missing_ok=True)
        remove_lock(self.port)
        self.lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


def lease(name: str = "", *, stable: bool = False, holder: int | None = None) -> Lease:
    """Lease one port; a stable one is the same each time this checkout asks for that name and it is free."""
    return lease_many([name], stable=stable, holder=holder)[0]


def lease_many(names: Sequence[str], *, stable: bool = False, holder: int | None = None) -> list[Lease]:
    """Lease a port for each name, all of them or none."""
    leases: list[Lease] = []
    published = ports_of_containers()
    pid = holder or os.getpid()
    started = process_table.started_at(pid)
    if started is None:
        raise PortError(f"no port for process {pid}: it has ended; name one that runs with --holder")
    try:
        for name in names:
            leases.append(lease_one(Holder(pid, started, str(CHECKOUT), name), stable, published))
    except PortError:
        for made in leases:
            made.release()
        raise
    return leases


def lease_one(holder: Holder, stable: bool, published: set[int]) -> Lease:
    for port in candidates(holder.name, stable):
        if port in published:
            continue
        lock = FileLock(lock_file(port), thread_local=False)
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
            if not is_held(port) and can_bind(port):
                record(port).write_text(json.dumps(asdict(holder)))
                return Lease(port, holder, lock)
            lock.release()
    first, last = port_range()
    why = f"all {last - first + 1} ports from {first} to {last} are leased or in use"
    raise PortError(f"no port is free: {why}; see `invoke ports.list`, or widen {RANGE_VARIABLE}={first}-{last}")


def is_held(port: int) -> bool:
    holder = recorded(port)
    return holder is not None and holder.lives


def candidates(name: str, stable: bool) -> Iterator[int]:
    """Yield every port of the range once, from a place that is chance, or this checkout's own for that name."""
    first, last = port_range()
    size = last - first + 1
    digest = hashlib.sha256(f"{CHECKOUT.resolve()}\0{name}".encode()).digest()
    begin = int.from_bytes(digest[:8], "big") if stable else random.SystemRandom().randrange(size)
    return (first + (begin + step) % size for step in range(size))


def port_range() -> tuple[int, int]:
    given = os.environ.get(RANGE_VARIABLE, f"{FIRST}-{LAST}")
    low, _, high = given.partition("-")
    if not (low.isdecimal() and high.isdecimal() and 1024 <= int(low) <= int(high) <= 65535):
        raise PortError(f"{RANGE_VARIABLE}={given} is no range of ports; write it like {FIRST}-{LAST}")
    return int(low), int(high)


def can_bind(port: int) -> bool:
    """Say whether nobody listens on this port, on any address of either family."""
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as trial:
                if family == socket.AF_INET6:
                    trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                trial.bind((address, port))
        except OSError as reason:
            if reason.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            # this machine speaks no IPv6
    return True


def ports_of_containers() -> set[int]:
    """Return what the engine has published: it may do so without a listening socket that a trial would meet."""
    docker = shutil.which("docker")
    if docker is None:
        return set()
    command = [docker, "ps", "--format", "{{.Ports}}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ENGINE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return set()
    published = (part.partition("->")[0].rpartition(":")[2] for part in done.stdout.replace("\n", ",").split(","))
    return {port for part in published for port in ports_in(part)}


def ports_in(text: str) -> range:
    low, _, high = text.strip().partition("-")
    return range(int(low), int(high or low) + 1) if low.isdecimal() else range(0)


def leased() -> dict[int, Holder]:
    """Return the leases that hold, and forget those whose holder has ended."""
    found: dict[int, Holder] = {}
    for port in {int(file.stem) for file in folder().iterdir() if file.stem.isdecimal()}:
        holder = recorded(port)
        if holder is not None and holder.lives:
            found[port] = holder
        else:
            forget(port)
    return dict(sorted(found.items()))


def forget(port: int) -> None:
    """Remove the files of a lease without a living holder, unless a process is just taking it."""
    with contextlib.suppress(Timeout), FileLock(lock_file(port), timeout=0):
        if not is_held(port):
            record(port).unlink(missing_ok=True)
            remove_lock(port)


def remove_lock(port: int) -> None:
    """Remove a lock file that we hold; a process that waits for it makes a new one."""
    with contextlib.suppress(PermissionError):  # Windows removes no file that is open
        lock_file(port).unlink(missing_ok=True)


def leased_here() -> list[int]:
    """Return the ports that this checkout leases."""
    return [port for port, holder in leased().items() if holder.checkout == str(CHECKOUT)]


def release(ports: Sequence[int]) -> list[int]:
    """Give back ports that this checkout leased; return those that were not its own to give."""
    ours = set(leased_here())
    for port in ours.intersection(ports):
        record(port).unlink(missing_ok=True)
        forget(port)
    return [port for port in ports if port not in ours]


def recorded(port: int) -> Holder | None:
    try:
        return Holder(**json.loads(record(port).read_text()))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None


def folder() -> Path:
    return own_directory(runtime_root() / "ports")


def lock_file(port: int) -> Path:
    return folder() / f"{port}.lock"


def record(port: int) -> Path:
    return folder() / f"{port}.json"
