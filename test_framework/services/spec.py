"""What a service is, read from compose/compose.yml, the only file that says so."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from test_framework import CHECKOUT
from test_framework.services.drivers import drivers, service_names
from test_framework.services.state import ServiceName

INSTALLED = Path(__file__).parents[1] / "compose"
"""Where the kit's wheel has the files; beside the kit's source they lie in the project."""
COMPOSE_FILE = (INSTALLED if INSTALLED.is_dir() else CHECKOUT / "compose") / "compose.yml"
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::[-?](?P<default>[^}]*))?\}")


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


def not_durable() -> dict[str, str]:
    """Return the values of variables where what was committed need not outlive a crash."""
    return {name: value for driver in drivers().values() for name, value in driver.not_durable.items()}


def passed_settings(compose_file: Path = COMPOSE_FILE) -> list[str]:
    """List the settings that the app's containers get as the environment or `.env.local` sets them."""
    import yaml

    environment = yaml.safe_load(compose_file.read_text(encoding="utf-8"))["services"]["app"]["environment"]
    return [name for name, value in environment.items() if value is None]


@functools.cache
def service_specs(compose_file: Path = COMPOSE_FILE) -> dict[ServiceName, ServiceSpec]:
    """Read the services that tests can ask for; one that is not in the file can't be run in a container."""
    import yaml

    services = yaml.safe_load(compose_file.read_text(encoding="utf-8"))["services"]
    return {name: read_spec(name, services.get(name, {})) for name in service_names()}


def read_spec(name: ServiceName, entry: dict[str, Any]) -> ServiceSpec:
    volume, _, data = next(iter(entry.get("volumes", [])), "").partition(":")
    port = next(iter(entry.get("ports", [])), "0").rpartition(":")[2]
    return ServiceSpec(name, entry.get("image", ""), int(port), entry.get("command", ""), volume, data)
