"""A call that waits stops everything on the loop: sleep, sockets, files, the database driver, other threads, processes.

blockbuster finds them. The service is held to all of it. Tests and the kit may read and write small files, because a test
that reads one delays only itself; they may not sleep, nor wait for a socket, a thread or a process. The first user of a
library may let it be imported, which reads files; the library may do no more than read meanwhile.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType, ModuleType

from test_framework import SERVICE, TESTS_OF_THE_ENGINE
from test_framework.guards.leaks.origins import Line, birth, is_ours, stack
from test_framework.guards.loops.allowed import allowed_callers
from test_framework.guards.loops.cpu import watch_cpu
from test_framework.guards.loops.waits import CONDITION, waits
from test_framework.guards.offences import Offence, commit, excused, here
from test_framework.guards.source import words

TESTS = ("tests", "test_framework")
WAITS_LONG = ("time.sleep", "socket.", "ssl.", "builtins.input")
CALLERS = 4
LEFT_ALONE = ("threading.", "os.getcwd", "os.path.abspath", "os.path.samestat")
"""Watching every lock would slow down the whole process; the others only compute."""
READS = tuple(words("os.stat os.listdir os.scandir os.readlink os.path. io.BufferedReader. io.TextIOWrapper.read"))
IMPORTS = "<frozen importlib._bootstrap>"
BLOCKBUSTER = f"{os.sep}blockbuster{os.sep}blockbuster.py"
METADATA = importlib.metadata.__path__[0] + os.sep


class Blocked(Offence):
    """A blocking call in a coroutine."""

    def __init__(self, call: str) -> None:
        lines = here().lines
        at = f", {lines[0]}" if lines else ""
        callers = _callers(sys._getframe(2), lines[0].file if lines else "")
        through = f" ({' < '.join(callers)})" if callers else ""
        called = _called_by_the_project(sys._getframe(2), lines) or call if call == CONDITION else call
        text = (
            f"{called}() in a coroutine stops everything else on the loop{at}{through}: await what does the same,"
            " or asyncio.to_thread(…), or say why it must be so: `# on purpose: <why>`, or [tool.guards.may_block]"
        )
        super().__init__(commit(text))


def watch_blocking(root: Path) -> Callable[[], None]:
    """Refuse blocking calls in coroutines of this project; return how to stop."""
    from blockbuster import BlockBuster, blockbuster

    blockbuster.BlockingError = Blocked  # type: ignore[misc, assignment]
    guards = [_folder(root / "test_framework" / "guards")]
    everywhere = [_folder(root / folder) for folder in (*SERVICE, *TESTS)]
    tests_inside = [_folder(root / TESTS_OF_THE_ENGINE)]
    service = BlockBuster([_folder(root / folder) for folder in SERVICE], excluded_modules=tests_inside).functions
    everything = BlockBuster(everywhere, excluded_modules=guards).functions
    watched = [name for name in service if not name.startswith(LEFT_ALONE)]
    functions = {name: (everything if name.startswith(WAITS_LONG) else service)[name] for name in watched}
    functions |= waits(everywhere, guards)
    stop_watching_cpu = watch_cpu(root)
    for name, function in functions.items():
        for file, caller in allowed_callers(root):
            function.can_block_in(file, _Any() if caller == "*" else {caller})
        function.can_block_predicate = _or_on_purpose(function.can_block_predicate)
        if name.startswith(READS):
            function.can_block_predicate = _or_for_an_import(function.can_block_predicate)
        function.activate()
        if isinstance(function.module, ModuleType) and function.original_func is not None:
            # another process unpickles it by its name
            functools.update_wrapper(getattr(function.module, function.func_name), function.original_func)

    def stop() -> None:
        stop_watching_cpu()
        for function in functions.values():
            function.deactivate()

    return stop


def _or_on_purpose(never_blocks: Callable[..., bool]) -> Callable[..., bool]:
    """Let a call pass that does not block, or whose line says why it must."""
    return lambda *given, **named: never_blocks(*given, **named) or excused(birth(2).lines[:1])


def _or_for_an_import(never_blocks: Callable[..., bool]) -> Callable[..., bool]:
    """Let a read pass that a library needs once: to be imported, or to learn its own version."""
    return lambda *given, **named: never_blocks(*given, **named) or _of_a_librarys_import(sys._getframe(1))


def _of_a_librarys_import(frame: FrameType | None) -> bool:
    """Whether a library is imported or asks for its version, as seen from its reading: this project reads elsewhere."""
    metadata = False
    for caller in stack(frame):
        file = caller.f_code.co_filename
        if file == IMPORTS or is_ours(file):
            return file == IMPORTS
        if metadata and not file.startswith(METADATA):
            return True
        metadata = metadata or file.startswith(METADATA)
    return False


def _callers(frame: FrameType | None, until: str) -> list[str]:
    """Name the callers between the blocking call and this project, as `may_block` wants them."""
    names: list[str] = []
    while frame is not None and frame.f_code.co_filename != until and len(names) < CALLERS:
        names.append(f"{'/'.join(Path(frame.f_code.co_filename).parts[-2:])}:{frame.f_code.co_name}")
        frame = frame.f_back
    return names


def _called_by_the_project(frame: FrameType | None, lines: Sequence[Line]) -> str:
    """Name the function of a library that a line of the project called, and that led to the blocking call."""
    name = ""
    for caller in stack(frame):
        if lines and caller.f_code.co_filename == lines[0].file:
            return name
        if not caller.f_code.co_filename.endswith(BLOCKBUSTER):
            name = f"{caller.f_globals.get('__name__')}.{caller.f_code.co_qualname}"
    return ""


class _Any(frozenset[str]):
    """Every function of a file."""

    def __contains__(self, name: object) -> bool:
        return True


def _folder(path: Path) -> ModuleType:
    """Name a folder the way blockbuster wants it: as a package, which need not be imported for that."""
    package = ModuleType(path.name)
    package.__path__ = [f"{path}{os.sep}"]
    return package
