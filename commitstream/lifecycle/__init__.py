"""The life of a process: its start, its stop signals, its cleanup."""

from __future__ import annotations

from commitstream.lifecycle.cleanup import (
    CleanupCoordinator,
    CleanupReport,
    HandlerReport,
    Outcome,
    Priority,
    TooLateError,
)
from commitstream.lifecycle.plan import ComponentReport, Phase, PhaseReport, StartupPlanError, StartupReport, State
from commitstream.lifecycle.signals import NotTheMainThreadError, SignalRoute, signals_routed
from commitstream.lifecycle.startup import StartupError, StartupManager, StartupStoppedError

__all__ = [
    "CleanupCoordinator",
    "CleanupReport",
    "ComponentReport",
    "HandlerReport",
    "NotTheMainThreadError",
    "Outcome",
    "Phase",
    "PhaseReport",
    "Priority",
    "SignalRoute",
    "StartupError",
    "StartupManager",
    "StartupPlanError",
    "StartupReport",
    "StartupStoppedError",
    "State",
    "TooLateError",
    "signals_routed",
]
