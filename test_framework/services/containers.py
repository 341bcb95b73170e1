"""The containers of one stack as the engine sees them: found by their labels, told what to do over the engine's own interface.

A container that is renamed is still ours, and a step that the engine refuses has found a state that has moved: whoever asked looks again.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from test_framework.services import engine
from test_framework.services.compose_project import ComposeProject
from test_framework.services.spec import service_specs
from test_framework.services.stack import Stack
from test_framework.services.state import EngineDownError, ServiceName, State

if TYPE_CHECKING:
    from docker import DockerClient

Container = dict[str, Any]  # what the engine's inspect returns: documented, large, and typed nowhere
STATES = {
    "created": State.CREATED,
    "paused": State.PAUSED,
    "restarting": State.RESTARTING,
    "removing": State.REMOVING,
    "exited": State.EXITED,
    "dead": State.DEAD,
}
HEALTH = {"starting": State.STARTING, "unhealthy": State.UNHEALTHY}
APP_SERVICES, APP_PORT = ("app", "proxy"), 8000


@dataclass(frozen=True)
class Part:
    """One container of the app profile: a replica, or the proxy in front of the replicas."""

    service: str
    number: str
    container: str
    state: State
    port: int | None  # where the engine publishes it

    @property
    def name(self) -> str:
        return f"{self.service}-{self.number}"


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
        image = service_specs()[service].image
        return bool(image) and engine.look(f"/images/{image}/json") is not None

    def find(self, service: ServiceName) -> Container | None:
        """Return this service's container as the engine sees it now, a running one rather than another."""
        filters = quote(json.dumps({"label": self.labels(service=service)}))
        found: list[Container] = engine.look(f"/containers/json?all=true&filters={filters}") or []
        found.sort(key=lambda container: container["State"] != "running")
        seen: Container | None = engine.look(f"/containers/{found[0]['Id']}/json") if found else None
        return seen

    def parts(self) -> list[Part]:
        """Return this stack's replicas and their proxy as the engine sees them now."""
        found: list[Part] = []
        for one in self.listed("/containers/json?all=true&"):
            labels = one["Labels"]
            service, number = (labels.get(f"com.docker.compose.{name}", "") for name in ("service", "container-number"))
            seen = engine.look(f"/containers/{one['Id']}/json") if service in APP_SERVICES else None
            if seen is not None:
                facts = seen["State"]
                health = HEALTH.get(facts.get("Health", {}).get("Status"), State.HEALTHY)
                connected = seen["NetworkSettings"]["Networks"]
                state = STATES.get(facts["Status"], health if connected else State.UNHEALTHY)
                found.append(Part(service, number, one["Id"], state, host_port(seen, APP_PORT)))
        return sorted(found, key=lambda part: part.name)

    def twin_networks(self) -> dict[str, list[str]]:
        """Return the names that more than one network of this stack has, and the ids, the most used first."""
        ids: dict[str, list[str]] = {}
        for network in self.listed("/networks?"):
            ids.setdefault(network["Name"], []).append(network["Id"])
        uses = Counter(used for one in self.listed("/containers/json?all=true&") for used in network_ids(one))
        return {name: sorted(twins, key=lambda twin: -uses[twin]) for name, twins in ids.items() if len(twins) > 1}

    def drop_twin_networks(self) -> None:
        """Keep one network of each name: compose refuses to choose. A container on another one is made again."""
        for _, *others in self.twin_networks().values():
            for one in self.listed("/containers/json?all=true&"):
                if network_ids(one) & set(others):
                    engine.tell("DELETE", f"/containers/{one['Id']}?force=true&v=true")
            for network in others:
                engine.tell("DELETE", f"/networks/{network}")

    def unpause_parts(self) -> None:
        """Let frozen replicas go on, so that they can end by themselves."""
        for part in self.parts():
            if part.state is State.PAUSED:
                engine.tell("POST", f"/containers/{part.container}/unpause")

    def part_logs(self, part: Part, lines: int) -> str:
        """Return the last lines that a replica or the proxy wrote."""
        with translated():
            return self.client.api.logs(part.container, tail=lines).decode(errors="replace")

    def listed(self, path: str) -> list[dict[str, Any]]:
        """Return what the engine lists of this stack; nothing where no engine answers."""
        filters = quote(json.dumps({"label": self.labels()}))
        with contextlib.suppress(EngineDownError):
            found: list[dict[str, Any]] = engine.look(f"{path}filters={filters}") or []
            return found
        return []

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
        for volume in self.volumes(service) if data else ():
            engine.tell("DELETE", f"/volumes/{volume}")

    def volumes(self, service: ServiceName) -> list[str]:
        """Name the volumes of a service: the one that it writes to, and those that an older version left."""
        filters = quote(json.dumps({"label": self.labels()}))
        found = (engine.look(f"/volumes?filters={filters}") or {}).get("Volumes") or []
        key = "com.docker.compose.volume"
        return [volume["Name"] for volume in found if volume["Labels"][key].partition("-")[0] == service]

    def run_in(self, service: ServiceName, command: list[str]) -> bool:
        """Run a command in a container, where its data is; say whether it went well."""
        container = self.find(service)
        if container is None:
            return False
        with translated():
            inside = self.client.containers.get(container["Id"])
            return inside.exec_run(command, workdir=service_specs()[service].data).exit_code == 0

    def run_in_data(self, service: ServiceName, line: str) -> None:
        self.run_in(service, ["sh", "-c", line])

    def logs(self, service: ServiceName, lines: int) -> str:
        with contextlib.suppress(EngineDownError):
            if container := self.find(service):
                with translated():
                    return self.client.api.logs(container["Id"], tail=lines).decode(errors="replace")
        return ""


def network_ids(listed: Container) -> set[str]:
    return {network["NetworkID"] for network in listed["NetworkSettings"]["Networks"].values()}


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
