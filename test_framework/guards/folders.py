"""No test lies where nobody runs it.

A folder under `tests/` says what its tests need, and `test_framework/modes.py` says in which modes each folder runs.
A folder that no mode names, and a test in a file that pytest does not collect, are green for ever.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath

from test_framework.guards.source import Finding, Guard, Source

ROOTS = (PurePosixPath("tests"), PurePosixPath("commitstream/tests"), PurePosixPath("test_framework/tests"))
SETTLED_IN = "test_framework/modes.py"


def concerns(path: PurePosixPath) -> bool:
    """Concern every Python file under a tests folder."""
    return path.suffix == ".py" and any(root in path.parents for root in ROOTS)


def check(files: Sequence[Source]) -> list[Finding]:
    """Find tests that no mode would run."""
    from test_framework.modes import FOLDERS  # only when needed: it is no business of the other guards

    return check_against(FOLDERS, files)


def check_against(folders: Mapping[str, Collection[object]], files: Sequence[Source]) -> list[Finding]:
    """Find tests that would not run if these folders ran in these modes."""
    return [finding for source in files for finding in _check_file(source, folders)]


def _check_file(source: Source, folders: Mapping[str, Collection[object]]) -> Iterator[Finding]:
    tests = [node for node in source.tree.body if _is_test(node)]
    collected = source.pure_path.match("test_*.py") or source.pure_path.match("*_test.py")
    complain = partial(Finding, source.path)
    if collected:
        folder = _folder(source.pure_path, folders)
        if folder is None:
            yield complain(1, "lies in no folder of its own, so no mode runs it; move it into unit/, integration/, …")
        elif not folders.get(folder):
            known = ", ".join(sorted(folders))
            message = (
                f"no mode runs the folder {folder}/; name it in FOLDERS in {SETTLED_IN}, or move the test ({known})"
            )
            yield complain(1, message)
    elif tests and source.pure_path.name != "conftest.py":
        name = f"test_{source.pure_path.stem.removesuffix('_tests')}.py"
        yield complain(tests[0].lineno, f"holds tests, but pytest collects only test_*.py; rename the file to {name}")


def _folder(path: PurePosixPath, folders: Mapping[str, Collection[object]]) -> str | None:
    below = next(path.relative_to(root) for root in reversed(ROOTS) if root in path.parents).parts[:-1]
    return next((part for part in below if part in folders), below[0] if below else None)


def _is_test(node: ast.stmt) -> bool:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return name.startswith("test_")
        case ast.ClassDef(name=name, body=body):
            return name.startswith("Test") and any(_is_test(statement) for statement in body)
        case _:
            return False


GUARD = Guard("folders", concerns, check, reads_together=False)
