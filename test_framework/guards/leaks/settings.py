"""What belongs to the whole process, so that a test which changes it must put it back: variables, handlers, folders."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from test_framework.guards.leaks.calls import Calls
from test_framework.guards.leaks.origins import Birth, Origins
from test_framework.guards.source import words

PYTESTS_OWN_VARIABLES = frozenset({"PYTEST_CURRENT_TEST", "PYTEST_VERSION", "COV_CORE_DATAFILE"})
WATCHED_SIGNALS = tuple(
    number
    for number in signal.Signals
    if number.name in words("SIGINT SIGTERM SIGHUP SIGQUIT SIGUSR1 SIGUSR2 SIGCHLD SIGPIPE SIGBREAK")
)
"""All but SIGALRM, which pytest-timeout sets for each test."""


class Environment:
    name = "environment variable"
    setting = True

    def __init__(self, origins: Origins) -> None:
        self._origins = origins

    def now(self) -> Mapping[Hashable, str]:
        return {name: value for name, value in os.environ.items() if name not in PYTESTS_OWN_VARIABLES}

    def birth(self, key: str, value: object) -> Birth | None:
        return self._origins.variables.get(key)

    def tell(self, key: str, value: object) -> str:
        return f"{key} was {'taken away' if value is None else 'set'} and not put back (monkeypatch.setenv does that)"

    def clear(self, key: str, before: str | None, after: object) -> None:
        if before is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = before


class Handlers:
    name = "logging handler"
    setting = True

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def now(self) -> Mapping[Hashable, tuple[logging.Handler, ...]]:
        root = logging.getLogger()
        loggers = [("root", root), *list(root.manager.loggerDict.items())]
        return {
            name: handlers
            for name, logger in loggers
            if isinstance(logger, logging.Logger) and logger.handlers and (handlers := self._handlers(logger))
        }

    def _handlers(self, logger: logging.Logger) -> tuple[logging.Handler, ...]:
        return tuple(handler for handler in logger.handlers if not self._is_a_librarys(handler))

    def _is_a_librarys(self, handler: logging.Handler) -> bool:
        """Libraries give their loggers what they want when they are first used, and pytest has its own."""
        return (
            isinstance(handler, logging.NullHandler)
            or type(handler).__module__.startswith("_pytest")
            or handler in self._calls.by_libraries
        )

    def birth(self, key: str, value: tuple[logging.Handler, ...] | None) -> Birth | None:
        return next((born for one in reversed(value or ()) if (born := self._calls.births.get(one))), None)

    def tell(self, key: str, value: tuple[logging.Handler, ...] | None) -> str:
        return f"logger {key!r} now has {list(value or ())}"

    def clear(self, key: str, before: tuple[logging.Handler, ...] | None, after: object) -> None:
        logger = logging.getLogger(None if key == "root" else key)
        for handler in self._handlers(logger):
            if handler not in (before or ()):
                logger.removeHandler(handler)
        for handler in before or ():
            logger.addHandler(handler)


class Signals:
    name = "signal handler"
    setting = True

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def now(self) -> Mapping[Hashable, Any]:
        return {number: signal.getsignal(number) for number in WATCHED_SIGNALS}

    def birth(self, key: signal.Signals, value: object) -> Birth | None:
        return self._calls.signals.get(key)

    def tell(self, key: signal.Signals, value: object) -> str:
        return f"{key.name} is now handled by {getattr(value, '__qualname__', value)}"

    def clear(self, key: signal.Signals, before: Any, after: object) -> None:
        if before is not None:
            with contextlib.suppress(ValueError):  # only the main thread may
                signal.signal(key, before)


class Global:
    """One value of the process, and how it is put back."""

    setting = True

    def __init__(
        self, name: str, read: Callable[[], Any], write: Callable[[Any], object], last: Callable[[], Birth | None]
    ) -> None:
        self.name = name
        self._read = read
        self._write = write
        self._last = last

    def now(self) -> Mapping[Hashable, Any]:
        return {self.name: self._read()}

    def birth(self, key: object, value: object) -> Birth | None:
        return self._last()

    def tell(self, key: object, value: object) -> str:
        return f"was changed to {value} and not put back"

    def clear(self, key: object, before: Any, after: object) -> None:
        self._write(before)


def globals_of(origins: Origins) -> list[Global]:
    """The working folder, the import path, the permissions of new files."""
    unknown: Callable[[], Birth | None] = lambda: None  # noqa: E731
    return [
        Global("working folder", _folder, os.chdir, lambda: origins.last.get("folder")),
        Global("sys.path", lambda: tuple(sys.path), _set_path, unknown),
        Global("umask", _umask, os.umask, unknown),
    ]


def _folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "a folder that is gone"


def _set_path(path: tuple[str, ...]) -> None:
    sys.path[:] = path


def _umask() -> int:
    """It can only be read by being set: for that moment, strictly."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
