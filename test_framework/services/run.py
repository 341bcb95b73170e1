"""A run's hold on what it makes: a lease that the operating system drops when we die, and a watchdog at the end of a pipe.

Whoever begins a run owns its stack. Its workers join by name and may register, but own nothing: they can die without harm.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from test_framework import reaper
from test_framework.services import port_leases
from test_framework.services.gate import open_gate
from test_framework.services.stack import Stack, own_directory, runtime_root

WATCHDOG_SECONDS = 5.0
OWNER = "owner"


class Watchdog:
    """A detached process that ends what is in a register, and removes some paths, once we are gone, however we went."""

    def __init__(self, register: Path, *paths: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-X", "utf8", "-c", reaper.COMMAND, reaper.HOME, str(register), *map(str, paths)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/" if os.name == "posix" else None,
            start_new_session=True,
        )
        # a child that was forked and never executed would hold the pipe open after our death
        close_in_forked_children(self.close)

    def close(self) -> None:
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()

    def dismiss(self) -> None:
        """Let it go, after the register was emptied: it finds nothing to do and ends."""
        self.close()
        self.process.wait(WATCHDOG_SECONDS)


class Run:
    """The owner's hold on one run's stack: begin it, and end it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        lease = lease_of(stack.directory)
        # first of all: from here on nothing that we make can stay
        self.watchdog = Watchdog(stack.register, stack.directory, lease)
        self.lease = FileLock(lease)
        self.lease.acquire(timeout=0)
        open_gate(own_directory(stack.directory))
        (stack.directory / OWNER).write_text(str(os.getpid()))

    def end(self) -> list[str]:
        """End all that the run has registered; return what would not end."""
        left = reaper.end_registered(self.stack.register)
        if not left:
            shutil.rmtree(self.stack.directory, ignore_errors=True)
            lease_of(self.stack.directory).unlink(missing_ok=True)
        self.watchdog.dismiss()
        self.lease.release()
        return left


def lease_of(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.lease")


def owner_of(directory: Path) -> int:
    """Return the process that owns a run; 0 where the run's folder does not say."""
    try:
        return int((directory / OWNER).read_text())
    except (OSError, ValueError):
        return 0


def is_held(lease: Path) -> bool:
    """Say whether a run's owner lives."""
    try:
        with FileLock(lease, timeout=0):
            return False
    except Timeout:
        return True


@contextlib.contextmanager
def leased_folder(name: str) -> Iterator[Path]:
    """Make a short-lived folder that `sweep` removes if this process is killed."""
    directory = runtime_root() / f"{name}-{secrets.token_hex(4)}"
    lease = lease_of(directory)
    with FileLock(lease, timeout=0):
        try:
            yield own_directory(directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            lease.unlink(missing_ok=True)


def sweep() -> list[str]:
    """End what runs left whose owner and watchdog are both gone: their leases are free."""
    port_leases.leased()  # forgets those of ended processes
    return [lease.stem for lease in runtime_root().glob("*.lease") if sweep_one(lease)]


def sweep_one(lease: Path) -> bool:
    """End what one run left, if nobody holds its lease; say whether that was so."""
    with contextlib.suppress(Timeout), FileLock(lease, timeout=0):
        directory = lease.with_suffix("")
        left = reaper.end_registered(directory / "register")
        shutil.rmtree(directory, ignore_errors=True)
        if not left:
            lease.unlink(missing_ok=True)
            return True
    return False


def close_in_forked_children(close: Callable[[], None]) -> None:
    reference = weakref.WeakMethod(close)

    def in_child() -> None:
        if (method := reference()) is not None:
            method()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=in_child)
