"""Binaries that this machine has already: postgres with its initdb, and redis-server or valkey-server."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from pathlib import Path

from test_framework.services.processes import ProcessProvider
from test_framework.services.spec import service_specs
from test_framework.services.stack import Stack
from test_framework.services.state import ServiceName

REDIS_NAMES = ("redis-server", "valkey-server")
DEBIAN = Path("/usr/lib/postgresql")  # where Debian keeps every version's binaries, off the PATH
VERSION_SECONDS = 10.0


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
    complete = [binary for binary in (*on_path, *DEBIAN.glob("*/bin/postgres")) if binary.with_name("initdb").exists()]
    wanted = service_specs()["postgres"].major
    versions = {binary: major_version(binary) for binary in complete}
    if right := [binary for binary, version in versions.items() if version == wanted]:
        return right[0]
    if versions:
        return (
            f"this machine's Postgres is {' and '.join(sorted(set(versions.values())))}, and the project's is {wanted}"
        )
    return "postgres and initdb are not on PATH"


@functools.cache
def major_version(binary: Path) -> str:
    """Ask a server for its major version; one that does not run has none."""
    command = [str(binary), "--version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=VERSION_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    found = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return found[1] if found else "unknown"
