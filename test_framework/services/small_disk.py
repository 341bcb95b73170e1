"""A disk so small that a test can fill it: a piece of memory, mounted where one stack keeps its data, and gone with the stack."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from test_framework import reaper
from test_framework.services.state import ProviderUnavailableError

SMALL_DISK = "96m"
CAP_SYS_ADMIN = 21  # its bit in the kernel's word of what a process may do


def mount(folder: Path, register: Path) -> None:
    """Mount a small disk on a folder, unless one is there; the register knows of it before it exists."""
    if folder.is_mount():
        return
    if reason := obstacle():
        raise ProviderUnavailableError("there is no small disk", reason, "SERVICES=compose, or run it as root on Linux")
    reaper.register_once(register, {"kind": "mount", "name": str(folder)})
    options = f"size={SMALL_DISK},mode=0711".encode()
    libc = ctypes.CDLL(None, use_errno=True)  # not the program `mount`, which a thin PATH lacks
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, options):
        reason = os.strerror(ctypes.get_errno())
        raise ProviderUnavailableError("a small disk could not be mounted", reason, "SERVICES=compose")


def obstacle() -> str | None:
    """Say why no disk can be mounted here; None where one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root on Linux may mount a disk"
    effective = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    may_mount = int(effective.split()[1], 16) >> CAP_SYS_ADMIN & 1
    return None if may_mount else "this container's root may mount no disk"
