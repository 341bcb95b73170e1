"""Services as containers, made by `docker compose` from compose/compose.yml and watched through the engine's own interface.

A container is found by its labels, so that a renamed one is still ours; its port is read anew each time, since it changes with
every start; and it is healthy when the service itself answers to our password, whatever the engine's health check last saw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from test_framework import reaper
from test_framework.services import engine, probes
from test_framework.services.compose_project import UP_SECONDS
from test_framework.services.containers import STATES, Container, Containers, host_port
from test_framework.services.credentials import passwords
from test_framework.services.drivers import RunningServer, driver_of, service_names
from test_framework.services.spec import COMPOSE_FILE, service_specs
from test_framework.services.stack import Stack
from test_framework.services.state import (
    EngineDownError,
    Observation,
    ServiceError,
    ServiceName,
    State,
)

if TYPE_CHECKING:
    from filelock import BaseFileLock

PULL_SECONDS = 600.0
STOP_SECONDS = 10


class ComposeProvider(Containers):
    """Runs the services of a stack as one compose project."""

    name = "compose"

    def __init__(self, stack: Stack, *, pull: bool = False) -> None:
        super().__init__(stack)
        self.pull = pull

    def missing(self, service: ServiceName) -> str | None:
        if not service_specs()[service].image:
            return f"{COMPOSE_FILE.name} has no {service}"
        try:
            engine.compose_command()
            engine.look("/version")
            if not self.pull and not self.has_image(service):
                return f"the image {service_specs()[service].image} is not here"
        except EngineDownError as reason:
            return str(reason) if not engine.start_if_allowed() else None
        return None

    def observe(self, service: ServiceName) -> Observation:
        try:
            container = self.find(service)
        except EngineDownError as reason:
            self.disconnect()
            return Observation(State.ENGINE_DOWN, str(reason))
        if container is None:
            return Observation(State.ABSENT)
        facts = container["State"]
        state = STATES.get(facts["Status"])
        if state is None:
            return self.ask(service, container)
        if state is not State.EXITED:
            return Observation(state, container["Id"][:12])
        return Observation(state, "out of memory" if facts.get("OOMKilled") else f"exit code {facts['ExitCode']}")

    def glance(self, service: ServiceName) -> State:
        try:
            container = self.find(service)
        except EngineDownError:
            return State.ENGINE_DOWN
        return STATES.get(container["State"]["Status"], State.STARTING) if container else State.ABSENT

    def ask(self, service: ServiceName, container: Container) -> Observation:
        """Ask the service in a running container who it is."""
        port = host_port(container, service_specs()[service].port)
        if port is None:
            return Observation(State.UNHEALTHY, "its container publishes no port")
        try:
            driver_of(service).check(self.server(service, port))
        except probes.WrongServerError as reason:
            return Observation(State.UNHEALTHY, str(reason))
        except probes.NotReadyError as reason:
            failing = container["State"].get("Health", {}).get("Status") == "unhealthy"
            return Observation(State.UNHEALTHY if failing else State.STARTING, str(reason))
        return Observation(State.HEALTHY, f"container {container['Id'][:12]}")

    def server(self, service: ServiceName, port: int) -> RunningServer:
        """Return what a driver has to know of the server behind a port."""
        return RunningServer(probes.Address(port=port), self.stack.name, self.password(service))

    def password(self, service: ServiceName) -> str:
        return passwords(self.stack).get(driver_of(service).password_variable, "")

    def start(self, service: ServiceName) -> None:
        """Start the container that is there, have compose make one that is not, and make anew one that will not start."""
        self.refuse_older_data(service)
        container = self.find(service)
        if container and container["Config"]["Image"] != service_specs()[service].image:
            self.remove(service, data=False)
            container = None
        if container is None:
            container = self.create(service)
        if not engine.tell("POST", f"/containers/{container['Id']}/start"):
            self.remove(service, data=False)
            self.compose("up", "--detach", "--no-deps", "--no-build", "--pull=never", service, service=service)

    def refuse_older_data(self, service: ServiceName) -> None:
        """Refuse to start beside data that an older version wrote: it would look lost."""
        spec = service_specs()[service]
        for volume in self.volumes(service) if self.stack.durable else ():
            if volume != f"{self.stack.name}_{spec.volume}":
                why = f"the volume {volume} holds the data of an older version, which {spec.image} can't read"
                drops = f"invoke services.reset --only {service}"
                raise ServiceError(
                    f"{service} was not started", why, f"docs/services.md#another-version moves it; {drops} drops it"
                )

    def create(self, service: ServiceName) -> Container:
        """Make this stack's containers, all in one go, since compose takes longer to start than to make one more."""
        with self.creating():
            if container := self.find(service):
                return container
            if not self.has_image(service):
                self.compose("pull", "--quiet", service, service=service, seconds=PULL_SECONDS)
            if not self.stack.lasting:
                reaper.register_once(self.stack.register, {"kind": "compose", "name": self.stack.name})
            makeable = [name for name in service_names() if self.has_image(name)]
            self.compose("create", "--no-recreate", "--no-build", "--pull=never", *makeable, service=service)
        if container := self.find(service):
            return container
        raise ServiceError(f"{service} could not be started", "compose made no container for it", "invoke services.up")

    def creating(self) -> BaseFileLock:
        from filelock import FileLock

        return FileLock(self.stack.lock_file("compose"), timeout=PULL_SECONDS + UP_SECONDS)

    def repair(self, service: ServiceName, found: Observation) -> bool:
        """Give the server of an old volume the password or what else it lacks; create the volume again where that fails."""
        if found.state is State.ENGINE_DOWN:
            return engine.start_if_allowed()
        port = self.published(service)
        if port is None:
            self.remove(service, data=False)  # it lost its network, which only a new one gets back
            return True
        driver, server = driver_of(service), self.server(service, port)
        if driver.repair(server, found.detail):
            return True
        if "password" not in found.detail:
            return False
        if command := driver.password_command(server.password):
            return self.run_in(service, command)
        self.remove(service, data=False)
        return True

    def frozen(self, service: ServiceName) -> reaper.Registration:
        container = self.find(service)
        return {"kind": "paused", "name": container["Id"] if container else ""}

    def stop(self, service: ServiceName) -> None:
        """End it in good order where its data is wanted again, else as fast as it can be."""
        self.step(service, f"stop?t={STOP_SECONDS}" if self.stack.durable else "kill")

    def clear(self, *, data: bool) -> None:
        options = ["--volumes"] if data else []
        self.unpause_parts()
        self.compose(
            "--profile",
            "app",
            "down",
            "--timeout",
            str(STOP_SECONDS),
            "--remove-orphans",
            *options,
            service="the stack",
        )

    def url(self, service: ServiceName) -> str:
        port = self.published(service)
        if port is None:
            raise ServiceError(f"{service} has no address", "its container publishes no port", "invoke services.up")
        return driver_of(service).url(probes.Address(port=port), self.password(service))

    def identity(self, service: ServiceName) -> str:
        container = self.find(service)
        return f"container {container['Id'][:12]}" if container else ""
