"""A wheel of this repository, built as `nox -s build` does and installed far from it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from test_framework.guards.pins import read_lock
from test_framework.running.machine import installer

BUILD_SECONDS = 60
INSTALL_SECONDS = 180
BUILD = ("-m", "hatchling", "build", "--target", "wheel", "--directory")
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "UV_", "PIP_", "SSL_", "HTTP", "http", "NO_PROXY", "no_proxy")


def build(source: Path, folder: Path) -> Path:
    """Build the wheel of a package in a folder."""
    subprocess.run(
        [sys.executable, *BUILD, str(folder)], cwd=source, timeout=BUILD_SECONDS, check=True, capture_output=True
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def installed(wheel: Path, lock: Path, folder: Path) -> Path:
    """Return the Python of a new virtual environment with a wheel and its dependencies, as a lock pins them."""
    constraints = folder / "constraints.txt"
    pins = read_lock(lock.read_text(encoding="utf-8"))[0]
    constraints.write_text("".join(f"{pin.name}=={pin.version}\n" for pin in pins if pin.holds_here))
    subprocess.run(
        [sys.executable, "-m", "virtualenv", "--quiet", str(folder / "venv")], timeout=BUILD_SECONDS, check=True
    )
    python = folder / "venv" / "bin" / "python"
    command = [str(python) if word == sys.executable else word for word in installer()]
    subprocess.run(
        [*command, "--quiet", "--constraint", str(constraints), str(wheel)],
        cwd=folder,
        env=environment(),
        timeout=INSTALL_SECONDS,
        check=True,
    )
    return python


def environment(**given: str) -> dict[str, str]:
    """Return what a person's shell has: nothing of this checkout, of the kit, or of other settings."""
    return {**{name: value for name, value in os.environ.items() if name.startswith(KEPT)}, **given}
