"""Services that somebody else runs, as a CI job does: checked before use, and never started, paused, stopped or emptied by us."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from test_framework.reaper import Registration
from test_framework.services import probes
from test_framework.services.state import Observation, ServiceError, ServiceName, State

VARIABLES: dict[ServiceName, str] = {"postgres": "DATABASE_URL", "redis": "REDIS_URL"}
SCHEMES = {"postgres": ("postgres", "postgresql"), "redis": ("redis", "rediss", "unix")}


class ExternalProvider:
    """Takes DATABASE_URL and REDIS_URL from the environment."""

    name = "external"

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self.environment = environment

    def missing(self, service: ServiceName) -> str | None:
        given = self.environment.get(VARIABLES[service], "")
        if urlsplit(given).scheme.partition("+")[0] in SCHEMES[service]:
            return None
        return f"{VARIABLES[service]} names no {service}" if given else f"{VARIABLES[service]} is not set"

    def observe(self, service: ServiceName) -> Observation:
        ask = ask_given_postgres if service == "postgres" else ask_given_redis
        try:
            return Observation(State.HEALTHY, ask(self.url(service)))
        except (probes.NotReadyError, ConnectionError, TimeoutError) as reason:
            return Observation(State.STARTING, str(reason) or "no answer")
        except Exception as reason:  # noqa: BLE001 - whatever a driver raises, it means the same here
            return Observation(State.UNHEALTHY, str(reason).partition("\n")[0] or type(reason).__name__)

    def glance(self, service: ServiceName) -> State:
        return State.STARTING  # it is not ours to look after

    def url(self, service: ServiceName) -> str:
        given = self.environment[VARIABLES[service]]
        if service == "redis":
            return given
        return f"postgresql+asyncpg{given[len(urlsplit(given).scheme) :]}"

    def identity(self, service: ServiceName) -> str:
        parts = urlsplit(self.environment[VARIABLES[service]])
        return parts.netloc.rpartition("@")[2] or parts.path

    def logs(self, service: ServiceName, lines: int) -> str:
        return f"{service} is external: its log is where it runs"

    def start(self, service: ServiceName) -> None:
        self.refuse(service, "start")

    def repair(self, service: ServiceName, found: Observation) -> bool:
        if found.state is State.STARTING:
            return True  # it may yet come up, and nobody but time can help
        variable = VARIABLES[service]
        raise ServiceError(
            f"{variable} is of no use", f"{self.identity(service)}: {found.detail}", f"correct {variable}"
        )

    def frozen(self, service: ServiceName) -> Registration:
        return {"kind": "paused", "name": ""}

    def pause(self, service: ServiceName) -> None:
        self.refuse(service, "pause")

    def unpause(self, service: ServiceName) -> None:
        self.refuse(service, "unpause")

    def stop(self, service: ServiceName) -> None:
        self.refuse(service, "stop")

    def kill(self, service: ServiceName) -> None:
        self.refuse(service, "kill")

    def remove(self, service: ServiceName, *, data: bool) -> None:
        self.refuse(service, "remove")

    def clear(self, *, data: bool) -> None:
        """Leave alone what is not ours."""

    def run_in_data(self, service: ServiceName, line: str) -> None:
        self.refuse(service, "reach the data of")

    def refuse(self, service: ServiceName, step: str) -> None:
        variable = VARIABLES[service]
        why = f"{variable} points to a server that is not ours"
        raise ServiceError(f"cannot {step} {service}", why, f"unset {variable}, or look after {self.identity(service)}")


def ask_given_redis(url: str, seconds: float = 3.0) -> str:
    import redis

    with redis.Redis.from_url(url, socket_connect_timeout=seconds, socket_timeout=seconds) as client:
        try:
            return str(client.info("server")["redis_version"])
        except redis.AuthenticationError as reason:
            raise probes.WrongServerError(str(reason)) from reason
        except (redis.ConnectionError, redis.TimeoutError) as reason:
            raise probes.NotReadyError(str(reason)) from reason


def ask_given_postgres(url: str) -> str:
    parts = urlsplit(url)
    if parts.query or not parts.hostname:
        return ask_with_driver(url)
    address = probes.Address(host=parts.hostname, port=parts.port or 5432)
    user, password = unquote(parts.username or "postgres"), unquote(parts.password or "")
    return probes.ask_postgres(address, user, password, parts.path.lstrip("/") or user, "SHOW server_version", 3.0)


def ask_with_driver(url: str, seconds: float = 3.0) -> str:
    """Ask through the driver, which knows every option a URL may carry, on a loop and a thread of its own."""
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
