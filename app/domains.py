"""The domains of this service: one package each, named only in this list.

A domain has a module `domain` with `create(engine, settings)`, and as far as it needs them `events` with `TOPICS`,
`tables`, and a folder `migrations`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from commitstream.topics import Topics

if TYPE_CHECKING:
    from app.settings import Settings
    from commitstream.domain import Domain
    from commitstream.engine import Engine

    DomainFactory = Callable[[Engine, Settings], Domain]

DOMAINS: tuple[str, ...] = (
    "app.agents",
)  # fmt: skip


def factories() -> list[DomainFactory]:
    """Return the factory of each domain."""
    return [import_module(f"{package}.domain").create for package in DOMAINS]


def topics() -> Topics:
    """Return the topics of all domains, without creating the domains."""
    return Topics(topic for module in _modules("events") for topic in module.TOPICS)


def migration_folders() -> list[Path]:
    """Return the folders of migrations that belong to one domain each."""
    folders = (Path(__file__).parents[1] / package.replace(".", "/") / "migrations" for package in DOMAINS)
    return [folder for folder in folders if folder.is_dir()]


def import_tables() -> None:
    """Import every module of a domain that declares tables."""
    for _ in _modules("tables"):
        pass


def _modules(name: str) -> Iterator[ModuleType]:
    for package in DOMAINS:
        if find_spec(f"{package}.{name}") is not None:
            yield import_module(f"{package}.{name}")
