"""The service itself as it runs in production: two replicas of its image behind a small proxy, on this checkout's services."""

from __future__ import annotations

import os
import re
import secrets
import subprocess

from test_framework.services import engine
from test_framework.services.compose import ComposeProvider
from test_framework.services.credentials import values_in
from test_framework.services.dev import DevStack
from test_framework.services.stack import Stack
from test_framework.services.state import SERVICE_NAMES, ServiceError

BUILD_SECONDS, BUILDS = 600.0, 3
LAYER_TAKEN = re.compile(
    r"unknown parent image|failed to get (digest|destination image)|no such image: sha256", re.IGNORECASE
)
UP_SECONDS = 120.0
DOWN_SECONDS = 60.0
SECRET = "APP_TOKEN_SECRET"  # pragma: allowlist secret
PARTS = ("proxy", "app")


class Replicas:
    """Brings the `app` profile of compose.yml up and down."""

    def __init__(self, stack: Stack | None = None) -> None:
        self.stack = stack or Stack.dev()
        self.provider = ComposeProvider(self.stack, pull=True)

    def up(self) -> str:
        """Heal the services, build the image, wait until its replicas are healthy, and return where they listen."""
        DevStack(self.stack, wanted="compose").up(SERVICE_NAMES)
        os.environ.setdefault(
            SECRET, values_in(self.stack.checkout / ".env.local").get(SECRET) or secrets.token_hex(32)
        )
        self.build()
        self.run("up", "--detach", "--no-build", "--wait", seconds=UP_SECONDS)
        return self.address()

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
        """End the replicas in good order; Postgres and Redis stay."""
        self.run("stop", *PARTS, seconds=DOWN_SECONDS)
        self.run("rm", "--force", *PARTS, seconds=DOWN_SECONDS)

    def address(self) -> str:
        """Ask where Docker published the proxy."""
        files = [option for file in self.provider.files() for option in ("--file", str(file))]
        command = [*engine.compose_command(), "--project-name", self.stack.name, *files, "port", "proxy", "8000"]
        environment = self.provider.environment()
        done = subprocess.run(
            command, check=False, env=environment, capture_output=True, text=True, timeout=engine.COMMAND_SECONDS
        )
        if not done.stdout.strip():
            raise ServiceError("the proxy publishes no port", done.stderr.strip(), "docker compose logs proxy")
        return f"http://{done.stdout.strip()}"

    def run(self, *arguments: str, seconds: float) -> None:
        self.provider.compose("--profile", "app", *arguments, service="the stack", seconds=seconds)
