"""The services that tests and commands can have: those of the kit, and those that `pyproject.toml` names.

[tool.test_framework]
drivers = ["tests.support.drivers:Temporal"]
"""

from __future__ import annotations

import functools
import importlib
import sys
from pathlib import Path

from test_framework.configuration import project_root, table_of
from test_framework.services.drivers.driver import Driver, RunningServer
from test_framework.services.state import ServiceError, ServiceName

__all__ = ["Driver", "DriverError", "RunningServer", "driver_of", "drivers", "service_names"]

OWN = ("test_framework.services.drivers.postgres:Postgres", "test_framework.services.drivers.redis:Redis")
NEXT = "correct drivers in [tool.test_framework] of pyproject.toml, see docs/services.md#add-a-service"


class DriverError(ServiceError):
    """pyproject.toml names a driver that can't be had."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"the driver {path} can't be had", why, NEXT)


@functools.cache
def drivers(root: Path | None = None) -> dict[ServiceName, Driver]:
    """Return every driver by the name of its service: the kit's, then the project's."""
    root = root or project_root()
    found = [load(path, root) for path in (*OWN, *table_of(root).get("drivers", []))]
    return {driver.name: driver for driver in found}


def driver_of(service: ServiceName) -> Driver:
    """Return the driver of a service."""
    return drivers()[service]


def service_names() -> tuple[ServiceName, ...]:
    """Return the names of all services."""
    return tuple(drivers())


def load(path: str, root: Path) -> Driver:
    """Make the driver that `package.module:Class` names."""
    module, _, name = path.partition(":")
    if str(root) not in sys.path:
        sys.path.append(str(root))  # a console script's path does not begin with the project
    try:
        made = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError, ValueError) as reason:
        raise DriverError(path, str(reason)) from reason
    if not isinstance(made, Driver) or not made.name.isidentifier():
        raise DriverError(path, "it is no Driver whose name is a word")
    return made
