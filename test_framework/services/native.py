"""Binaries that this machine has anyway: postgres with its initdb, and redis-server or valkey-server."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from test_framework.services.processes import ProcessProvider
from test_framework.services.stack import Stack
from test_framework.services.state import ServiceName

REDIS_NAMES = ("redis-server", "valkey-server")
DEBIAN = Path("/usr/lib/postgresql")  # where Debian keeps every version's binaries, off the PATH


def native(stack: Stack) -> ProcessProvider:
    return ProcessProvider("native", stack, find)


def find(service: ServiceName) -> Path | str:
    """Return the server's binary on PATH, or say which one is missing."""
    return find_postgres() if service == "postgres" else find_redis()


def find_redis() -> Path | str:
    for name in REDIS_NAMES:
        if found := shutil.which(name):
            return Path(found)
    return f"neither {' nor '.join(REDIS_NAMES)} is on PATH"


def find_postgres() -> Path | str:
    on_path = [Path(found).resolve()] if (found := shutil.which("postgres")) else []
    packaged = sorted(DEBIAN.glob("*/bin/postgres"), key=version_of_folder, reverse=True)
    for binary in (*on_path, *packaged):
        if binary.with_name("initdb").exists():
            return binary
    return "postgres and initdb are not on PATH"


def version_of_folder(binary: Path) -> int:
    number = re.match(r"\d+", binary.parents[1].name)
    return int(number[0]) if number else 0
