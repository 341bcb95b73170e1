"""What a service is, read from compose/compose.yml, the only file that says so."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from test_framework import CHECKOUT
from test_framework.services.state import SERVICE_NAMES, ServiceName

COMPOSE_FILE = CHECKOUT / "compose" / "compose.yml"
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::[-?](?P<default>[^}]*))?\}")
NOT_DURABLE = {"POSTGRES_DURABLE": "off", "POSTGRES_WAL": "48MB", "POSTGRES_BUFFERS": "16MB", "REDIS_DURABLE": "no"}


@dataclass(frozen=True)
class ServiceSpec:
    name: ServiceName
    image: str
    port: int
    command: str
    volume: str
    data: str

    @property
    def major(self) -> str:
        """The major version that the image's tag names."""
        return self.image.partition(":")[2].partition("-")[0].partition(".")[0]

    def arguments(self, values: Mapping[str, str]) -> list[str]:
        """Return what follows the program's name on its command line, with the variables filled in."""
        filled = VARIABLE.sub(lambda found: values.get(found["name"], found["default"] or ""), self.command)
        return shlex.split(filled)[1:]


def passed_settings(compose_file: Path = COMPOSE_FILE) -> list[str]:
    """List the settings that the app's containers get as the environment or `.env.local` sets them."""
    import yaml

    environment = yaml.safe_load(compose_file.read_text(encoding="utf-8"))["services"]["app"]["environment"]
    return [name for name, value in environment.items() if value is None]


@functools.cache
def service_specs(compose_file: Path = COMPOSE_FILE) -> dict[ServiceName, ServiceSpec]:
    """Read the services that tests can ask for."""
    import yaml

    services = yaml.safe_load(compose_file.read_text(encoding="utf-8"))["services"]
    return {
        name: ServiceSpec(
            name=name,
            image=services[name]["image"],
            port=int(services[name]["ports"][0].rpartition(":")[2]),
            command=services[name]["command"],
            volume=services[name]["volumes"][0].partition(":")[0],
            data=services[name]["volumes"][0].partition(":")[2],
        )
        for name in SERVICE_NAMES
    }
