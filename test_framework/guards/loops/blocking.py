"""A call that waits stops everything on the loop: sleep, sockets, files, the database driver. blockbuster finds them.

The service is held to all of it. Tests and the kit may read and write small files, because a test that looks into one
holds up nobody but itself; they may not sleep, nor wait for a socket. Whoever is first to need a library may let it be
imported, which reads files; the library may do no more than read meanwhile.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType

from test_framework.guards.configuration import settings_of
from test_framework.guards.leaks.origins import birth, is_ours, stack
from test_framework.guards.offences import Offence, commit, excused, here
from test_framework.guards.source import words

SERVICE = "app"
TESTS = ("tests", "test_framework")
WAITS_LONG = ("time.sleep", "socket.", "ssl.", "builtins.input")
TIME_IS_UP = "pytest_timeout.py:*"
"""It speaks in the middle of whatever is at work, which has not asked it to."""
CALLERS = 4
LEFT_ALONE = ("threading.", "os.getcwd", "os.path.abspath", "os.path.samestat")
"""Watching every lock would slow down the whole process; the others only compute."""
READS = tuple(words("os.stat os.listdir os.scandir os.readlink os.path. io.BufferedReader. io.TextIOWrapper.read"))
IMPORTS = "<frozen importlib._bootstrap>"
METADATA = importlib.metadata.__path__[0] + os.sep


class Blocked(Offence):
    """A blocking call in a coroutine."""

    def __init__(self, call: str) -> None:
        lines = here().lines
        at = f", {lines[0]}" if lines else ""
        callers = _callers(sys._getframe(2), lines[0].file if lines else "")
        through = f" ({' < '.join(callers)})" if callers else ""
        text = (
            f"{call}() in a coroutine stops everything else on the loop{at}{through}: await what does the same,"
            " or asyncio.to_thread(…), or say why it must be so: `# on purpose: <why>`, or [tool.guards.may_block]"
        )
        super().__init__(commit(text))


def watch_blocking(root: Path) -> Callable[[], None]:
    """Refuse blocking calls in coroutines of this project; return how to stop."""
    from blockbuster import BlockBuster, blockbuster

    blockbuster.BlockingError = Blocked  # type: ignore[misc, assignment]
    kit = [_folder(root / "test_framework" / "guards")]
    service = BlockBuster([_folder(root / SERVICE)]).functions
    everything = BlockBuster([_folder(root / folder) for folder in (SERVICE, *TESTS)], excluded_modules=kit).functions
    watched = [name for name in service if not name.startswith(LEFT_ALONE)]
    functions = {name: (everything if name.startswith(WAITS_LONG) else service)[name] for name in watched}
    for name, function in functions.items():
        for file, caller in _allowed(root):
            function.can_block_in(file, _Any() if caller == "*" else {caller})
        function.can_block_predicate = _or_on_purpose(function.can_block_predicate)
        if name.startswith(READS):
            function.can_block_predicate = _or_for_an_import(function.can_block_predicate)
        function.activate()
        if isinstance(function.module, ModuleType):  # or it could not be pickled, for another process say
            functools.update_wrapper(getattr(function.module, function.func_name), function.original_func)

    def stop() -> None:
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


def _allowed(root: Path) -> list[tuple[str, str]]:
    """Which functions of which files may block; a star stands for every one."""
    callers = [caller.rpartition(":")[::2] for caller in (TIME_IS_UP, *settings_of(root).may_block)]
    return [
        (found, name)
        for file, name in callers
        for found in ([path.relative_to(root).as_posix() for path in root.glob(file)] if "*" in file else [file])
    ]


def _callers(frame: FrameType | None, until: str) -> list[str]:
    """Name the callers between the blocking call and this project, as `may_block` wants them."""
    names: list[str] = []
    while frame is not None and frame.f_code.co_filename != until and len(names) < CALLERS:
        names.append(f"{'/'.join(Path(frame.f_code.co_filename).parts[-2:])}:{frame.f_code.co_name}")
        frame = frame.f_back
    return names


class _Any(frozenset[str]):
    """Every function of a file."""

    def __contains__(self, name: object) -> bool:
        return True


def _folder(path: Path) -> ModuleType:
    """Name a folder the way blockbuster wants it: as a package, which need not be imported for that."""
    package = ModuleType(path.name)
    package.__path__ = [f"{path}{os.sep}"]
    return package
