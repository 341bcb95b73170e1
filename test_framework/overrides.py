"""Dependencies that a test replaces in an application which outlives it must be put back: the next test would get them too."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI

Dependency = Callable[..., Any]

_at_work: weakref.WeakSet[FastAPI] = weakref.WeakSet()


@contextmanager
def at_work(app: FastAPI) -> Iterator[None]:
    """Watch an application for as long as it serves."""
    _at_work.add(app)
    try:
        yield
    finally:
        _at_work.discard(app)


@contextmanager
def overridden(app: FastAPI, dependency: Dependency, replacement: Dependency) -> Iterator[None]:
    """Replace a dependency until the block ends."""
    before = dict(app.dependency_overrides)
    app.dependency_overrides[dependency] = replacement
    try:
        yield
    finally:
        app.dependency_overrides = before


def take_back() -> list[str]:
    """Undo what is still replaced anywhere, and name it."""
    left = [_named(dependency) for app in _at_work for dependency in app.dependency_overrides]
    for app in _at_work:
        app.dependency_overrides = {}
    return sorted(left)


def _named(dependency: Dependency) -> str:
    return f"{dependency.__module__}.{getattr(dependency, '__qualname__', dependency)}"
