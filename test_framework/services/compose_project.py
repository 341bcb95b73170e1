"""One stack as a compose project: the files it is made of, the values they get, and `docker compose` run on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from test_framework.services import engine
from test_framework.services.credentials import passwords, pinned_ports
from test_framework.services.diagnosis import diagnose
from test_framework.services.drivers import drivers
from test_framework.services.gate import held
from test_framework.services.small_disk import SMALL_DISK
from test_framework.services.spec import COMPOSE_FILE, not_durable, service_specs
from test_framework.services.stack import Stack, project_name
from test_framework.services.state import ProviderUnavailableError, ServiceError, ServiceName

UP_SECONDS = 60.0
FINISHING_SECONDS = 5.0
START_INTERVAL_API = (1, 44)


class ComposeProject:
    """What compose needs to know of a stack."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def compose(
        self,
        *arguments: str,
        service: ServiceName,
        seconds: float = UP_SECONDS,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Run compose on this stack; say what its failure means and what helps."""
        files = [option for file in self.files() for option in ("--file", str(file))]
        command = [*engine.compose_command(), "--project-name", self.stack.name, *files, *arguments]
        what = f"compose {' '.join(arguments)} failed"
        process = subprocess.Popen(
            command,
            env={**self.environment(), **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for us
            pass_fds=held(),
        )
        try:
            printed, complained = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            end(process)
            raise ServiceError(what, f"compose took more than {seconds:g} s", "invoke doctor") from None
        except BaseException:
            end(process, FINISHING_SECONDS)  # for a client that is killed, the engine goes on nobody knows how long
            raise
        if process.returncode == 0:
            return
        said = (complained or printed).strip()
        spec = service_specs().get(service)
        known = diagnose(said, service, spec.image if spec else "")
        last = said.splitlines()[-1] if said else f"compose ended with exit code {process.returncode}"
        if known is None:
            raise ServiceError(what, last, "invoke doctor")
        error = ProviderUnavailableError if known.engine else ServiceError
        raise error(what, f"{known.why} ({last})", known.next_command)

    def files(self) -> Iterator[Path]:
        yield COMPOSE_FILE
        if not self.stack.durable:
            yield COMPOSE_FILE.with_name("compose.test.yml")
        if tuple(map(int, engine.look("/version")["ApiVersion"].split("."))) >= START_INTERVAL_API:
            yield COMPOSE_FILE.with_name("compose.start-interval.yml")

    def environment(self) -> dict[str, str]:
        stack = {
            "STACK": self.stack.name,
            "STACK_PROJECT": project_name(self.stack.checkout),
            "STACK_CHECKOUT": str(self.stack.checkout),
            "STACK_RUN": self.stack.run,
        }
        durable = {} if self.stack.durable else not_durable()
        sizes = (driver.disk_variable for driver in drivers().values() if driver.disk_variable)
        disk = dict.fromkeys(sizes, SMALL_DISK) if self.stack.storage == "small" else {}
        return {**os.environ, **pinned_ports(self.stack), **passwords(self.stack), **stack, **durable, **disk}

    def labels(self, **more: str) -> list[str]:
        wanted = {"project": self.stack.name, **more}
        return [f"com.docker.compose.{name}={value}" for name, value in wanted.items()]


def end(process: subprocess.Popen[str], patience: float = 0.0) -> None:
    """Kill a client that does not end by itself in that time."""
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=patience)
    process.kill()
    process.communicate()
