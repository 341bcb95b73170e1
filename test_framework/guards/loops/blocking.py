"""A call that waits stops everything on the loop: sleep, sockets, files, the database driver. blockbuster finds them.

The service is held to all of it. Tests and the kit may read and write small files, because a test that looks into one
holds up nobody but itself; they may not sleep, nor wait for a socket.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType

from test_framework.guards.configuration import settings_of
from test_framework.guards.leaks.origins import birth
from test_framework.guards.offences import Offence, commit, excused, here

SERVICE = "app"
TESTS = ("tests", "test_framework")
WAITS_LONG = ("time.sleep", "socket.", "ssl.", "builtins.input")
CALLERS = 4
LEFT_ALONE = ("threading.", "os.getcwd", "os.path.abspath", "os.path.samestat")
"""Watching every lock would slow down the whole process; the others only compute."""


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
    functions = [
        function
        for name in service
        if not name.startswith(LEFT_ALONE)
        for function in [everything[name] if name.startswith(WAITS_LONG) else service[name]]
    ]
    for function in functions:
        for file, name in _allowed(root):
            function.can_block_in(file, _Any() if name == "*" else {name})
        function.can_block_predicate = _or_on_purpose(function.can_block_predicate)
        function.activate()

    def stop() -> None:
        for function in functions:
            function.deactivate()

    return stop


def _or_on_purpose(never_blocks: Callable[..., bool]) -> Callable[..., bool]:
    """Let a call pass that does not block, or whose line says why it must."""
    return lambda *given, **named: never_blocks(*given, **named) or excused(birth(2).lines[:1])


def _allowed(root: Path) -> list[tuple[str, str]]:
    """Which functions of which files may block; a star stands for every one."""
    callers = [caller.rpartition(":")[::2] for caller in settings_of(root).may_block]
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
