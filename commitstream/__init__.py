"""commitstream: events, written in your transaction and delivered after its commit.

    from commitstream import Engine, Event, Topic, install

docs/engine.md has an application of thirty lines. Names are imported when they are first used, so that a module that
only declares events does not import the web framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from commitstream.application import install as install
    from commitstream.consumers.consumer import Consumer as Consumer
    from commitstream.db.migrate import Migrations as Migrations
    from commitstream.db.migrate import NextSteps as NextSteps
    from commitstream.domain import Domain as Domain
    from commitstream.domain import Gauge as Gauge
    from commitstream.engine import Engine as Engine
    from commitstream.envelope import Envelope as Envelope
    from commitstream.events import Event as Event
    from commitstream.events import RightsChanged as RightsChanged
    from commitstream.lifecycle.cleanup import CleanupCoordinator as CleanupCoordinator
    from commitstream.lifecycle.plan import Phase as Phase
    from commitstream.lifecycle.startup import StartupManager as StartupManager
    from commitstream.service.dependencies import EngineDep as EngineDep
    from commitstream.service.dependencies import UserDep as UserDep
    from commitstream.service.problems import Problem as Problem
    from commitstream.service.server import listen as listen
    from commitstream.service.server import run as run
    from commitstream.service.tokens import InvalidToken as InvalidToken
    from commitstream.settings import EngineSettings as EngineSettings
    from commitstream.topics import Order as Order
    from commitstream.topics import OrderError as OrderError
    from commitstream.topics import Stream as Stream
    from commitstream.topics import Topic as Topic
    from commitstream.topics import UnknownEventTypeError as UnknownEventTypeError
    from commitstream.topics import user_stream as user_stream
    from commitstream.topics import users as users
    from commitstream.user import User as User

_MODULES = {
    "CleanupCoordinator": "lifecycle.cleanup",
    "Consumer": "consumers.consumer",
    "Domain": "domain",
    "Engine": "engine",
    "EngineDep": "service.dependencies",
    "EngineSettings": "settings",
    "Envelope": "envelope",
    "Event": "events",
    "Gauge": "domain",
    "InvalidToken": "service.tokens",
    "Migrations": "db.migrate",
    "NextSteps": "db.migrate",
    "Order": "topics",
    "OrderError": "topics",
    "Phase": "lifecycle.plan",
    "Problem": "service.problems",
    "RightsChanged": "events",
    "StartupManager": "lifecycle.startup",
    "Stream": "topics",
    "Topic": "topics",
    "UnknownEventTypeError": "topics",
    "User": "user",
    "UserDep": "service.dependencies",
    "install": "application",
    "listen": "service.server",
    "run": "service.server",
    "user_stream": "topics",
    "users": "topics",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'commitstream' has no attribute {name!r}")
    return getattr(import_module(f"commitstream.{_MODULES[name]}"), name)
