"""Binaries that this machine has already."""

from __future__ import annotations

from pathlib import Path

from test_framework.services.drivers import driver_of
from test_framework.services.processes import ProcessProvider
from test_framework.services.spec import service_specs
from test_framework.services.stack import Stack
from test_framework.services.state import ServiceName


def native(stack: Stack) -> ProcessProvider:
    return ProcessProvider("native", stack, find)


def find(service: ServiceName) -> Path | str:
    """Return the server's binary on PATH, or say which one is missing."""
    return driver_of(service).find_native(service_specs()[service])
