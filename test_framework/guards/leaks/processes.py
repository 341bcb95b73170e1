"""What the operating system would be left with: threads, child processes, descriptors, temporary files."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from stat import S_IFMT
from typing import Any

from test_framework.guards.leaks.children import Orphans, children_of_this_process, helpers_of_multiprocessing
from test_framework.guards.leaks.origins import Birth, Origins, at_one_moment

WITH_THE_LOOP = ("asyncio_", "AnyIO worker thread")
"""Threads of a loop's own pool: they wait for work, and end with their loop."""
ONE_FOR_ALL = ("/dev/urandom", "/dev/null")
LOOKED_AT = "/proc/"
"""What psutil has open for a moment, perhaps in another thread."""
SHARED_LIBRARY = re.compile(r"\.so(?:\.\d+)*$")
"""libffi keeps its own file open once ctypes is imported, for as long as the process lives; Python does not open it."""
FOLDERS_OF_DESCRIPTORS = ("/proc/self/fd", "/dev/fd")
SHOWN = 120
Identity = tuple[int, int, int, int]
MOMENT = 50_000_000
"""Nanoseconds; the times of files move on in steps of some milliseconds."""


class Threads:
    name = "thread"
    setting = False

    def __init__(self, origins: Origins) -> None:
        self._origins = origins

    def now(self) -> dict[Hashable, threading.Thread]:
        return {thread: thread for thread in threading.enumerate() if not thread.name.startswith(WITH_THE_LOOP)}

    def birth(self, key: threading.Thread, value: object) -> Birth | None:
        return self._origins.threads.get(key)

    def tell(self, key: threading.Thread, value: object) -> str:
        target = getattr(key, "_target", None)
        work = f" running {getattr(target, '__qualname__', target)}" if target else ""
        return f"{key.name!r}{work} is still alive"

    def clear(self, key: threading.Thread, before: object, after: object) -> None:
        """Nobody can end a thread from outside."""


class Children:
    name = "child process"
    setting = False

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self.orphans = Orphans()

    def now(self) -> dict[Hashable, int]:
        children = children_of_this_process()
        orphans = self.orphans.now(self._origins.starts, has_children=bool(children))
        return {pid: pid for pid in children | orphans}

    def belongs_to_something_lasting(self, key: int) -> bool:
        """Whether it is a server, the watchdog of a stack, or what multiprocessing keeps until this process ends."""
        if key in helpers_of_multiprocessing()[0]:
            return True
        servers, reaper = map(sys.modules.get, ("test_framework.services.processes", "test_framework.reaper"))
        if servers is not None and servers.is_a_server(key):
            return True
        return reaper is not None and reaper.COMMAND in _command(key, whole=True)

    def birth(self, key: int, value: object) -> Birth | None:
        command = {*_command(key), "fork"}
        since = [(program, birth) for program, siblings, birth in self._origins.spawned if key not in siblings]
        mine = [birth for program, birth in since if Path(program).name in command]
        candidates = mine or [birth for _, birth in since]  # it may have become another program
        return candidates[-1] if candidates else None

    def tell(self, key: int, value: object) -> str:
        command = " ".join(_command(key, whole=True))[:SHOWN]
        return f"{key} ({command})" if command else f"{key} has ended, and nobody has waited for it (a zombie)"

    def clear(self, key: int, before: object, after: object) -> None:
        with contextlib.suppress(OSError):
            os.kill(key, signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
            os.waitpid(key, 0)


def _command(pid: int, *, whole: bool = False) -> list[str]:
    import psutil

    try:
        command = psutil.Process(pid).cmdline()
    except psutil.Error:
        return []
    return command if whole else [Path(part).name for part in command[:1]]


ENGINE_SOCKET = "docker.sock"
"""The SDK of a container engine keeps its connections for the next who asks."""


class Descriptors:
    name = "open file or socket"
    setting = False

    def __init__(self, origins: Origins, claimed: Callable[[], set[int]], files: Callable[[], set[str]]) -> None:
        self._origins = origins
        self._claimed = claimed
        self._claimed_files = files
        self._folder = next((folder for folder in FOLDERS_OF_DESCRIPTORS if os.path.isdir(folder)), None)
        self._known: dict[int, tuple[Identity | None, tuple[int, str]]] = {}
        self._numbers: list[str] = []
        self._opened = -1

    def before_a_test(self) -> dict[Hashable, int]:
        """List them as they were after the last test, if the numbers are the same and nothing was opened since."""
        numbers = os.listdir(self._folder) if self._folder else []
        unchanged = numbers == self._numbers and self._origins.opened == self._opened
        return self._listed() if unchanged else self.now()

    def now(self) -> dict[Hashable, int]:
        known: dict[int, tuple[Identity | None, tuple[int, str]]] = {}
        now = time.time_ns()
        self._opened = self._origins.opened
        self._numbers = os.listdir(self._folder) if self._folder else []
        for number in map(int, self._numbers):
            try:
                stat = os.fstat(number)
                identity = stat.st_dev, stat.st_ino, stat.st_ctime_ns, stat.st_mode
                was = self._known.get(number)
                if was is None or was[0] != identity:
                    # no identity are the inode that all epolls share, and a time that a file of the next moment has, too
                    unique = S_IFMT(stat.st_mode) and now - stat.st_ctime_ns > MOMENT
                    was = identity if unique else None, (number, self._target(number, stat))
                known[number] = was
            except OSError:  # it was closed meanwhile, as the one is that reads the folder
                continue
        self._known = known
        return self._listed()

    def _listed(self) -> dict[Hashable, int]:
        return {key: key[0] for _, key in self._known.values()}

    def _target(self, number: int, stat: os.stat_result) -> str:
        if self._folder == FOLDERS_OF_DESCRIPTORS[0]:
            return os.readlink(f"{self._folder}/{number}")  # which takes four times as long as to ask for the identity
        return f"{stat.st_dev}:{stat.st_ino}"

    def belongs_to_something_lasting(self, key: tuple[int, str]) -> bool:
        file = key[1].removesuffix("-wal").removesuffix("-shm").removesuffix("-journal")
        if self._origins.services_were_at_work and not self.birth(key, key[0]):
            return True  # a pipe of theirs, or the insides of a loop: nobody announces those
        if SHARED_LIBRARY.search(file) and not self.birth(key, key[0]):
            return True
        return (
            file in ONE_FOR_ALL
            or file.startswith(LOOKED_AT)
            or key[0] in helpers_of_multiprocessing()[1]
            or key[0] in self._claimed()
            or file in self._claimed_files()
            or ENGINE_SOCKET in self._peer(key[0])
        )

    def birth(self, key: tuple[int, str], value: int) -> Birth | None:
        for connection, birth in at_one_moment(self._origins.sockets.items):
            if connection.fileno() == value:
                return birth
        return self._origins.files.get(key[1].removesuffix(" (deleted)"))

    def tell(self, key: tuple[int, str], value: int) -> str:
        return f"{key[1]} (descriptor {value}){self._peer(value)}"

    def _peer(self, descriptor: int) -> str:
        return next(
            (_addresses(one) for one in at_one_moment(self._origins.sockets.keys) if one.fileno() == descriptor), ""
        )

    def clear(self, key: object, before: object, after: object) -> None:
        """Whoever holds it would close it a second time, and by then it may be somebody else's."""


def _addresses(connection: Any) -> str:
    own = ""
    try:
        own = f" at {connection.getsockname()}"
        return f"{own}, talking to {connection.getpeername()}"
    except OSError:
        return own


class Temporary:
    name = "temporary file"
    setting = False

    def __init__(self, origins: Origins, pytests_own: Callable[[], str]) -> None:
        self._origins = origins
        self._pytests_own = pytests_own

    def now(self) -> dict[Hashable, str]:
        born = self._origins.temporary
        for path in [path for path in born if not os.path.lexists(path)]:
            del born[path]
        return {path: path for path in born}

    def belongs_to_something_lasting(self, key: str) -> bool:
        own = self._pytests_own()
        return (bool(own) and key.startswith(own + os.sep)) or key in helpers_of_multiprocessing()[2]

    def birth(self, key: str, value: object) -> Birth | None:
        return self._origins.temporary.get(key)

    def tell(self, key: str, value: object) -> str:
        return f"{key} was not removed"

    def clear(self, key: str, before: object, after: object) -> None:
        if os.path.isdir(key):
            shutil.rmtree(key, ignore_errors=True)
        else:
            Path(key).unlink(missing_ok=True)
