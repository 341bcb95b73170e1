"""What is done when a library arrives: a look at its classes, as soon as somebody imports it, and not before."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

Welcome = Callable[[ModuleType], None]


class Arrivals(importlib.abc.MetaPathFinder):
    """Finds nothing itself: it lets the other finders find, and has their loader say when it is done."""

    def __init__(self) -> None:
        self._awaited: dict[str, list[Welcome]] = {}

    def expect(self, module: str, welcome: Welcome) -> None:
        """Call `welcome` with this module: now, if it is there, or as soon as it is."""
        if module in sys.modules:
            welcome(sys.modules[module])
        else:
            self._awaited.setdefault(module, []).append(welcome)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._awaited:
            return None
        for finder in sys.meta_path:
            spec = finder.find_spec(fullname, path, target) if finder is not self else None
            if spec is not None and spec.loader is not None:
                spec.loader = _Announced(spec.loader, self._awaited.pop(fullname))
                return spec
        return None


class _Announced(importlib.abc.Loader):
    def __init__(self, loader: Any, welcomes: list[Welcome]) -> None:
        self._loader = loader
        self._welcomes = welcomes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        for welcome in self._welcomes:
            welcome(module)
