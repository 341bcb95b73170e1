"""Where things began: Python announces every socket, file, process and temporary folder to an audit hook.

The hook notes the lines of this project that led there, and who was at work. It can't be taken out again, so it is set
once and falls silent when nobody listens.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from test_framework.guards.leaks.children import children_of_this_process
from test_framework.guards.leaks.owners import AT_WORK, Owner

NOT_OURS = (f"{os.sep}site-packages{os.sep}", f"{os.sep}.venv{os.sep}", f"{os.sep}.nox{os.sep}")
KIT = Path(__file__).parents[2]
THE_WATCH_ITSELF = (f"{KIT / 'guards'}{os.sep}", str(KIT / "plugin.py"))
SERVICES = tuple(str(KIT / name) for name in (f"services{os.sep}", "service_pool.py", f"faults{os.sep}"))
ENGINE = f"{os.sep}docker{os.sep}transport{os.sep}"
LINES = 3
PYTESTS_OWN_VARIABLES = frozenset({"PYTEST_CURRENT_TEST", "PYTEST_VERSION", "COV_CORE_DATAFILE"})
NOTHING, THE_RUNNER = (False, False), (False, False, False)
PYTESTS_RUNNER = f"{os.sep}_pytest{os.sep}runner.py"

T = TypeVar("T")


@dataclass(frozen=True)
class Line:
    """One line of this project."""

    file: str
    number: int
    function: str

    def __str__(self) -> str:
        return f"{os.path.relpath(self.file, _Project.root)}:{self.number} in {self.function}"


@dataclass(frozen=True)
class Birth:
    """Where something began, innermost line first, and who was at work."""

    lines: tuple[Line, ...]
    owner: Owner | None
    of_a_service: bool = False
    """It is part of a service's run, which is held to account as a whole."""

    def __str__(self) -> str:
        if not self.lines:
            return "begun outside this project"
        return f"begun at {' < '.join(map(str, self.lines))}"


class _Project:
    root = os.getcwd()
    hears = False
    worth: dict[str, tuple[bool, ...]] = {}  # noqa: RUF012 - one per process, like the hook


def settle_on(root: Path) -> Callable[[], None]:
    """Say which folder is the project, whose lines are worth naming; return how to take that back."""
    before = _Project.root

    def settle(folder: str) -> None:
        _Project.root = folder
        _Project.worth.clear()

    settle(str(root))
    return lambda: settle(before)


def is_ours(file: str) -> bool:
    """Whether a line of this file is worth naming."""
    ours = file.startswith(_Project.root + os.sep) and not file.startswith(THE_WATCH_ITSELF)
    return ours and not any(part in file for part in NOT_OURS)


def project_frame(frame: FrameType | None) -> FrameType | None:
    """Return the frame that makes a thing if it is of this project; a dataclass makes its fields in one without a file."""
    while frame is not None and frame.f_code.co_filename == "<string>":
        frame = frame.f_back
    return frame if frame is not None and is_ours(frame.f_code.co_filename) else None


def serves(file: str) -> bool:
    """Whether a file starts and asks services; the docker library keeps its connections as long as its client."""
    return file.startswith(SERVICES) or ENGINE in file


def _worth_of(file: str) -> tuple[bool, ...]:
    """Whether a line of a file is worth naming, and whether it serves; below pytest's runner is no line of a test."""
    if file.endswith(PYTESTS_RUNNER):
        return THE_RUNNER
    worth = is_ours(file), serves(file)
    return worth if any(worth) else NOTHING


def birth(depth: int = 1) -> Birth:
    """Note the lines of this project that led here."""
    lines: list[Line] = []
    of_a_service = False
    known = _Project.worth
    for frame in stack(sys._getframe(depth)):
        file = frame.f_code.co_filename
        worth = known.get(file)
        if worth is None:
            worth = known[file] = _worth_of(file)
        if worth is NOTHING:
            continue
        if worth is THE_RUNNER:
            break
        of_a_service = of_a_service or worth[1]
        if worth[0]:
            lines.append(Line(file, frame.f_lineno, frame.f_code.co_name))
            if len(lines) == LINES:
                break
    if of_a_service and _HEARD_BY and threading.current_thread() is threading.main_thread():
        _HEARD_BY[-1].services_were_at_work = True
    return Birth(tuple(lines), AT_WORK.get() or _owner_of_this_thread(), of_a_service or _of_a_services_thread())


def _owner_of_this_thread() -> Owner | None:
    """A thread does not inherit who is at work, but it was begun by somebody."""
    begun = _begun_this_thread()
    return begun.owner if begun is not None else None


def _of_a_services_thread() -> bool:
    begun = _begun_this_thread()
    return begun is not None and begun.of_a_service


def _begun_this_thread() -> Birth | None:
    return _HEARD_BY[-1].threads.get(threading.current_thread()) if _HEARD_BY else None


def stack(frame: FrameType | None) -> Iterator[FrameType]:
    """Follow the callers, also out of a greenlet, where SQLAlchemy's async engine works: the caller waits in its parent."""
    current = getattr(sys.modules.get("greenlet"), "getcurrent", None)
    greenlet = current() if current is not None and not sys.is_finalizing() else None
    while frame is not None:
        yield frame
        frame = frame.f_back
        if frame is None and greenlet is not None:
            greenlet = greenlet.parent
            frame = greenlet.gr_frame if greenlet is not None else None


def at_one_moment(look: Callable[[], Iterable[T]]) -> list[T]:
    """All there is now, although another thread may add to it while it is looked through."""
    while True:
        with contextlib.suppress(RuntimeError):
            return list(look())


class Origins:
    """What is known of the beginning of each thing."""

    def __init__(self) -> None:
        self.threads: WeakKeyDictionary[Any, Birth] = WeakKeyDictionary()
        self.sockets: WeakKeyDictionary[Any, Birth] = WeakKeyDictionary()
        self.temporary: dict[str, Birth] = {}
        self.files: dict[str, Birth] = {}
        self.databases: dict[str, WeakSet[threading.Thread]] = {}
        self.variables: dict[str, Birth] = {}
        self.spawned: list[tuple[str, set[int], Birth]] = []
        """Which program was begun, beside which children that were there before, and where."""
        self.opened = 0
        """How many descriptors were announced that this process opened."""
        self.starts = 0
        """How many processes this one has started."""
        self.services_were_at_work = False
        self.last: dict[str, Birth] = {}

    def forget_the_last_test(self) -> None:
        """What is only looked up by name is of no use to the next test."""
        for notes in (self.files, self.variables, self.last):
            notes.clear()
        self.spawned.clear()
        self.services_were_at_work = False

    def note_socket(self, arguments: tuple[Any, ...]) -> None:
        self.opened += 1
        self.sockets[arguments[0]] = birth(3)

    def note_temporary(self, arguments: tuple[Any, ...]) -> None:
        self.temporary[os.path.abspath(os.fsdecode(arguments[0]))] = birth(3)

    def note_file(self, arguments: tuple[Any, ...]) -> None:
        self.opened += 1
        if isinstance(arguments[0], str | bytes):
            self.files[os.path.abspath(os.fsdecode(arguments[0]))] = birth(3)

    def note_database(self, arguments: tuple[Any, ...]) -> None:
        self.opened += 1
        if isinstance(arguments[0], str | bytes):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            self.databases.setdefault(path, WeakSet()).add(threading.current_thread())
            self.files[path] = birth(3)

    def note_variable(self, arguments: tuple[Any, ...]) -> None:
        name = os.fsdecode(arguments[0])
        if name not in PYTESTS_OWN_VARIABLES:
            self.variables[name] = birth(3)

    def note_process(self, arguments: tuple[Any, ...]) -> None:
        program = os.fsdecode(arguments[0]) if arguments and isinstance(arguments[0], str | bytes) else "fork"
        self.opened += 1
        self.starts += 1
        self.spawned.append((program, children_of_this_process(), birth(3)))

    def note_folder(self, _: tuple[Any, ...]) -> None:
        self.last["folder"] = birth(3)


_NOTES: dict[str, Callable[[Origins, tuple[Any, ...]], None]] = {
    "socket.__new__": Origins.note_socket,
    "tempfile.mkdtemp": Origins.note_temporary,
    "tempfile.mkstemp": Origins.note_temporary,
    "open": Origins.note_file,
    "sqlite3.connect": Origins.note_database,
    "os.putenv": Origins.note_variable,
    "os.unsetenv": Origins.note_variable,
    "subprocess.Popen": Origins.note_process,
    "os.fork": Origins.note_process,
    "os.forkpty": Origins.note_process,
    "os.posix_spawn": Origins.note_process,
    "os.spawn": Origins.note_process,
    "os.chdir": Origins.note_folder,
}

_HEARD_BY: list[Origins] = []


def listen(origins: Origins) -> Callable[[], None]:
    """Begin to note where things begin; return how to stop."""
    if not _Project.hears:
        sys.addaudithook(_hear)
        _Project.hears = True
    _HEARD_BY.append(origins)
    return lambda: _HEARD_BY.remove(origins)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    """Take a note; a test that does nothing raises two hundred events that are worth none, so those end here at once."""
    if event in _NOTES:
        note = _NOTES[event]
        for origins in _HEARD_BY:
            note(origins, arguments)
