"""The commands: every module here that holds invoke tasks is a namespace, and its docstring is the namespace's sentence."""

from __future__ import annotations

import importlib
import pkgutil

from invoke.collection import Collection
from invoke.main import program
from invoke.tasks import Task


def all_namespaces() -> Collection:
    """Collect the namespaces that exist."""
    root = Collection()
    for found in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{found.name}")
        if any(isinstance(member, Task) for member in vars(module).values()):
            root.add_collection(Collection.from_module(module))
    return root


def list_by_namespace() -> None:
    """Let `invoke --list` show each namespace with its sentence, unless another format is asked for."""
    if hasattr(program, "core"):  # only where invoke itself is running
        program.args["list-format"].default = "nested"
