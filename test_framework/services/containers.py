"""The containers of one stack as the engine sees them: found by their labels, told what to do over the engine's own interface.

A container that is renamed is still ours, and a step that the engine refuses has found a state that has moved: whoever asked looks again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from test_framework.services import engine
from test_framework.services.compose_project import ComposeProject
from test_framework.services.spec import service_specs
from test_framework.services.stack import Stack
from test_framework.services.state import EngineDownError, ServiceName

if TYPE_CHECKING:
    from docker import DockerClient

DATA_FOLDERS: dict[ServiceName, str] = {"postgres": "/var/lib/postgresql/data", "redis": "/data"}
Container = dict[str, Any]  # what the engine's inspect returns: documented, large, and typed nowhere


class Containers(ComposeProject):
    """Finds a stack's containers and takes single steps on them."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack)
        self._client: DockerClient | None = None

    @property
    def client(self) -> DockerClient:
        """The SDK, for what needs more than a step or a look; its import takes longer than those."""
        if self._client is None:
            self._client = engine.connect()
        return self._client

    def disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def has_image(self, service: ServiceName) -> bool:
        return engine.look(f"/images/{service_specs()[service].image}/json") is not None

    def find(self, service: ServiceName) -> Container | None:
        """Return this service's container as the engine sees it now, a running one rather than another."""
        filters = quote(json.dumps({"label": self.labels(service=service)}))
        found: list[Container] = engine.look(f"/containers/json?all=true&filters={filters}") or []
        found.sort(key=lambda container: container["State"] != "running")
        seen: Container | None = engine.look(f"/containers/{found[0]['Id']}/json") if found else None
        return seen

    def published(self, service: ServiceName) -> int | None:
        """Return the port where this service is to be reached now, if it has one."""
        container = self.find(service)
        return host_port(container, service_specs()[service].port) if container else None

    def step(self, service: ServiceName, what: str) -> bool:
        """Have the engine pause, unpause, start, stop or kill a container; say whether it did."""
        container = self.find(service)
        return container is not None and engine.tell("POST", f"/containers/{container['Id']}/{what}")

    def pause(self, service: ServiceName) -> None:
        self.step(service, "pause")

    def unpause(self, service: ServiceName) -> None:
        self.step(service, "unpause")

    def kill(self, service: ServiceName) -> None:
        self.step(service, "kill")

    def remove(self, service: ServiceName, *, data: bool) -> None:
        if container := self.find(service):
            engine.tell("DELETE", f"/containers/{container['Id']}?force=true&v=true")
        if data:
            filters = quote(json.dumps({"label": self.labels(volume=service)}))
            for volume in (engine.look(f"/volumes?filters={filters}") or {}).get("Volumes") or []:
                engine.tell("DELETE", f"/volumes/{volume['Name']}")

    def run_in(self, service: ServiceName, command: list[str]) -> bool:
        """Run a command in a container, where its data is; say whether it went well."""
        container = self.find(service)
        if container is None:
            return False
        with translated():
            inside = self.client.containers.get(container["Id"])
            return inside.exec_run(command, workdir=DATA_FOLDERS[service]).exit_code == 0

    def run_in_data(self, service: ServiceName, line: str) -> None:
        self.run_in(service, ["sh", "-c", line])

    def logs(self, service: ServiceName, lines: int) -> str:
        with contextlib.suppress(EngineDownError):
            if container := self.find(service):
                with translated():
                    return self.client.api.logs(container["Id"], tail=lines).decode(errors="replace")
        return ""


def host_port(container: Container, port: int) -> int | None:
    published = (container["NetworkSettings"]["Ports"] or {}).get(f"{port}/tcp") or []
    return int(published[0]["HostPort"]) if published else None


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn a lost connection to the engine into the one error that means it."""
    from requests.exceptions import ConnectionError as LostConnectionError
    from requests.exceptions import Timeout

    try:
        yield
    except (LostConnectionError, Timeout) as reason:
        raise EngineDownError("the engine does not answer") from reason
