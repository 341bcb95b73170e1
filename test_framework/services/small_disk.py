"""A disk so small that a test can fill it: a piece of memory, mounted where one stack keeps its data, and gone with the stack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from test_framework import reaper
from test_framework.services.gate import held
from test_framework.services.state import ProviderUnavailableError

SMALL_DISK = "96m"
SECONDS = 10.0
CAP_SYS_ADMIN = 21  # its bit in the kernel's word of what a process may do


def mount(folder: Path, register: Path) -> None:
    """Mount a small disk on a folder, unless one is there; the register knows of it before it exists."""
    if folder.is_mount():
        return
    if reason := obstacle():
        raise ProviderUnavailableError("there is no small disk", reason, "SERVICES=compose, or run it as root on Linux")
    reaper.register_once(register, {"kind": "mount", "name": str(folder)})
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=0711", "tmpfs", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS, pass_fds=held())
    if done.returncode:
        raise ProviderUnavailableError("a small disk could not be mounted", done.stderr.strip(), "SERVICES=compose")


def obstacle() -> str | None:
    """Say why no disk can be mounted here; None where one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root on Linux may mount a disk"
    effective = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    may_mount = int(effective.split()[1], 16) >> CAP_SYS_ADMIN & 1
    return None if may_mount else "this container's root may mount no disk"
