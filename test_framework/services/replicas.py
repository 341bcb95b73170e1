"""The service itself as it runs in production: two replicas of its image behind a small proxy, on this checkout's services."""

from __future__ import annotations

import contextlib
import os
import re
import secrets

from test_framework.services import engine
from test_framework.services.compose import ComposeProvider
from test_framework.services.containers import APP_SERVICES
from test_framework.services.credentials import pinned_ports, values_in
from test_framework.services.dev import DevStack, Status
from test_framework.services.occupants import listener_on
from test_framework.services.spec import COMPOSE_FILE, passed_settings, service_specs
from test_framework.services.stack import Stack
from test_framework.services.state import ServiceError, ServiceName, State

BUILD_SECONDS, BUILDS = 600.0, 3
LAYER_TAKEN = re.compile(
    r"unknown parent image|failed to get (digest|destination image)|no such image: sha256", re.IGNORECASE
)
UP_SECONDS = 120.0
DOWN_SECONDS = 60.0
SECRET = "APP_TOKEN_SECRET"  # pragma: allowlist secret
PORT_TAKEN = "its port is taken"
PROXY_PROGRAM = COMPOSE_FILE.with_name("balancer.py")
NEXT = "invoke services.logs --only app"


def in_containers() -> list[ServiceName]:
    """Return the services that compose.yml defines: the replicas can reach no others."""
    return [name for name, spec in service_specs().items() if spec.image]


class Replicas:
    """Brings the `app` profile of compose.yml up and down."""

    def __init__(self, stack: Stack | None = None) -> None:
        self.stack = stack or Stack.dev()
        self.provider = ComposeProvider(self.stack, pull=True)
        self.dev = DevStack(self.stack, wanted="compose")
        self.secret = secrets.token_hex(32)

    def up(self) -> str:
        """Heal the services, build the image, wait until its replicas are healthy, and return where they listen."""
        self.require_pinned_port()
        self.dev.up(in_containers())
        self.build()
        return self.heal()

    def heal(self) -> str:
        """Bring replicas and proxy up from whatever state they are in, without a build, and return where they listen."""
        with self.dev.alone():
            self.dev.up(in_containers())
            for last_try in (False, True):  # a replica that turns unhealthy after it was unpaused is replaced
                self.prepare()
                try:
                    self.run("up", "--detach", "--no-build", "--wait", seconds=UP_SECONDS)
                    break
                except ServiceError as error:
                    if PORT_TAKEN in error.why:
                        self.down()  # replicas without a proxy are of no use
                        raise
                    if last_try:
                        raise ServiceError("the replicas did not become healthy", error.why, NEXT) from error
            return self.address()

    def prepare(self) -> None:
        """Unpause what is paused, and remove what compose could not bring up."""
        for part in self.provider.parts():
            if part.state is State.PAUSED:
                engine.tell("POST", f"/containers/{part.container}/unpause")
            elif not part.state.runs or part.state is State.UNHEALTHY:
                engine.tell("DELETE", f"/containers/{part.container}?force=true&v=true")
        with contextlib.suppress(OSError):  # under umask 077 the proxy's user could not read its own program
            PROXY_PROGRAM.chmod(PROXY_PROGRAM.stat().st_mode | 0o444)

    def require_pinned_port(self) -> None:
        """Refuse a pinned port that another process has, before anything is started."""
        pinned = pinned_ports(self.stack)["APP_PORT"]
        mine = {str(part.port) for part in self.provider.parts()}
        if pinned.isdecimal() and pinned not in mine and (listener := listener_on(int(pinned))):
            why = f"{listener} listens there"
            raise ServiceError(
                f"APP_PORT={pinned} is taken", why, "clear APP_PORT in .env.local, then invoke services.app"
            )

    def build(self) -> None:
        """Build the image; again where a clean-up elsewhere took a layer from under it, as it can with the classic builder."""
        for build in range(1, BUILDS + 1):
            try:
                self.run("build", "app", seconds=BUILD_SECONDS)
            except ServiceError as error:
                if build == BUILDS or not LAYER_TAKEN.search(error.why):
                    raise ServiceError("the service's image can't be built", error.why, "docker build .") from error
            else:
                break

    def down(self) -> None:
        """Stop the replicas and their proxy and remove them; Postgres and Redis stay."""
        with self.dev.alone():
            self.provider.unpause_parts()
            self.run("rm", "--stop", "--force", *APP_SERVICES, seconds=DOWN_SECONDS)

    def status(self, only: str = "") -> list[Status]:
        """Return the state of each container of the app profile, or of one service of it; nothing if there is none."""
        return [
            Status(
                part.name,
                part.state.value,
                self.provider.name,
                f"container {part.container[:12]}",
                f"http://127.0.0.1:{part.port}" if part.port else "",
            )
            for part in self.provider.parts()
            if only in ("", part.service)
        ]

    def logs(self, lines: int, only: str = "") -> dict[str, str]:
        """Return the last lines that each replica and the proxy wrote, or those of one service."""
        parts = [part for part in self.provider.parts() if only in ("", part.service)]
        return {part.name: self.provider.part_logs(part, lines) for part in parts}

    def address(self) -> str:
        """Return where the engine publishes the proxy."""
        for part in self.provider.parts():
            if part.port:
                return f"http://127.0.0.1:{part.port}"
        raise ServiceError(
            "the proxy publishes no port", "its container has ended", "invoke services.logs --only proxy"
        )

    def settings(self) -> dict[str, str]:
        """Return the containers' settings: the environment's, and for the dev stack those of `.env.local` behind them."""
        local = values_in(self.stack.checkout / ".env.local") if self.stack.lasting else {}
        given = {name: local[name] for name in passed_settings() if name in local}
        given[SECRET] = local.get(SECRET) or self.secret
        return {name: os.environ.get(name, value) for name, value in given.items()}

    def run(self, *arguments: str, seconds: float) -> None:
        self.provider.compose(
            "--profile", "app", *arguments, service="the stack", seconds=seconds, settings=self.settings()
        )
