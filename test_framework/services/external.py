"""Services that somebody else runs, as a CI job does: checked before use, and never started, paused, stopped or emptied by us."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from test_framework.reaper import Registration
from test_framework.services import probes
from test_framework.services.drivers import driver_of
from test_framework.services.state import Observation, ServiceError, ServiceName, State


class ExternalProvider:
    """Takes each service's URL from the environment: DATABASE_URL, REDIS_URL."""

    name = "external"

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self.environment = environment

    def missing(self, service: ServiceName) -> str | None:
        driver = driver_of(service)
        given = self.environment.get(driver.url_variable, "")
        if not given:
            return f"{driver.url_variable} is not set"
        fits = not driver.schemes or urlsplit(given).scheme.partition("+")[0] in driver.schemes
        return None if fits else f"{driver.url_variable} names no {service}"

    def observe(self, service: ServiceName) -> Observation:
        try:
            return Observation(State.HEALTHY, driver_of(service).check_url(self.url(service)))
        except (probes.NotReadyError, ConnectionError, TimeoutError) as reason:
            return Observation(State.STARTING, str(reason) or "no answer")
        except Exception as reason:  # noqa: BLE001 - whatever a driver raises, it means the same here
            return Observation(State.UNHEALTHY, str(reason).partition("\n")[0] or type(reason).__name__)

    def glance(self, service: ServiceName) -> State:
        return State.STARTING  # it is not ours to look after

    def url(self, service: ServiceName) -> str:
        driver = driver_of(service)
        return driver.client_url(self.environment[driver.url_variable])

    def identity(self, service: ServiceName) -> str:
        parts = urlsplit(self.environment[driver_of(service).url_variable])
        return parts.netloc.rpartition("@")[2] or parts.path

    def logs(self, service: ServiceName, lines: int) -> str:
        return f"{service} is external: its log is where it runs"

    def start(self, service: ServiceName) -> None:
        self.refuse(service, "start")

    def repair(self, service: ServiceName, found: Observation) -> bool:
        if found.state is State.STARTING:
            return True  # it may yet come up, and nobody but time can help
        variable = driver_of(service).url_variable
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
        variable = driver_of(service).url_variable
        why = f"{variable} points to a server that is not ours"
        raise ServiceError(f"cannot {step} {service}", why, f"unset {variable}, or look after {self.identity(service)}")
