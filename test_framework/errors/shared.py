"""What a failed line reads that belongs to more than one test, and that somebody has changed."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Collection
from types import FrameType, ModuleType

from test_framework import SERVICE

OF_THE_PROCESS = re.compile(r"\bos\.(?:environ|getenv|getcwd|umask)\b|\bsys\.(?:path|modules)\b|\bPath\.cwd\b")


def shared_state(statement: ast.AST, names: Collection[str], frame: FrameType) -> str:
    """Name the changed container of the module, the variable of the process, or the replaced function that a line reads."""
    written = ast.unparse(statement)
    if match := OF_THE_PROCESS.search(written):
        return match.group()
    at_start = initial_values(frame)
    for name in sorted(set(names) & set(at_start)):
        hidden = name in frame.f_locals and frame.f_locals is not frame.f_globals
        if not hidden and (frame.f_globals.get(name) != at_start[name] or not at_start[name]):
            return name
    return next((path for path in attributes(statement) if replaced(path, frame)), "")


def initial_values(frame: FrameType) -> dict[str, object]:
    """Return the lists, dicts and sets of a test's module, as its source has them."""
    module = inspect.getmodule(frame)
    try:
        tree = ast.parse(inspect.getsource(module)) if module else ast.Module([], [])
    except (OSError, SyntaxError, TypeError):
        return {}
    found: dict[str, object] = {}
    for node in tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                try:
                    literal = ast.literal_eval(value)
                except (ValueError, TypeError, SyntaxError):
                    continue
                if isinstance(literal, list | dict | set):
                    found[name] = literal
            case _:
                continue
    return found


def attributes(statement: ast.AST) -> list[str]:
    """Return every dotted name in a statement, the longest first."""
    found = {ast.unparse(node) for node in ast.walk(statement) if isinstance(node, ast.Attribute)}
    return sorted((path for path in found if re.fullmatch(r"[\w.]+", path)), key=len, reverse=True)


def replaced(path: str, frame: FrameType) -> bool:
    """Say whether a name of the app's stands for something that a test made."""
    first, *rest = path.split(".")
    value: object = frame.f_globals.get(first)
    owner: object = None
    for part in rest:
        if not isinstance(value, ModuleType):
            return False
        owner, value = value, getattr(value, part, None)
    if not isinstance(owner, ModuleType) or owner.__name__.partition(".")[0] not in SERVICE:
        return False
    return callable(value) and getattr(value, "__module__", None) == frame.f_globals.get("__name__")
