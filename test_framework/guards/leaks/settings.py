"""What belongs to the whole process, so that a test which changes it must put it back: variables, handlers, folders."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import locale
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Hashable
from typing import Any

from test_framework.guards.leaks.calls import Calls, is_pytests_own
from test_framework.guards.leaks.origins import PYTESTS_OWN_VARIABLES, Birth, Origins
from test_framework.guards.source import words

ENCODED_VARIABLES_OF_PYTEST = tuple(map(os.environ.encodekey, PYTESTS_OWN_VARIABLES))
WATCHED_SIGNALS = tuple(
    number
    for number in signal.Signals
    if number.name in words("SIGINT SIGTERM SIGHUP SIGQUIT SIGUSR1 SIGUSR2 SIGCHLD SIGPIPE SIGBREAK")
)


_getsignal = importlib.import_module("_signal").getsignal  # the public one looks each handler up in an enumeration


class Environment:
    name = "environment variable"
    setting = True

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._encoded: dict[Any, Any] = {}
        self._decoded: dict[Hashable, str] = {}

    def now(self) -> dict[Hashable, str]:
        encoded = dict(getattr(os.environ, "_data", os.environ))  # to decode them takes longer than all else here
        for name in ENCODED_VARIABLES_OF_PYTEST:
            encoded.pop(name, None)
        if encoded != self._encoded:
            self._encoded = encoded
            self._decoded = {name: value for name, value in os.environ.items() if name not in PYTESTS_OWN_VARIABLES}
        return self._decoded.copy()

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

    def now(self) -> dict[Hashable, tuple[logging.Handler, ...]]:
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
            isinstance(handler, logging.NullHandler) or is_pytests_own(handler) or handler in self._calls.by_libraries
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

    def now(self) -> dict[Hashable, Any]:
        return {number: _getsignal(number) for number in WATCHED_SIGNALS}

    def birth(self, key: signal.Signals, value: object) -> Birth | None:
        return self._calls.signals.get(key)

    def tell(self, key: signal.Signals, value: object) -> str:
        handler = signal.Handlers(value) if isinstance(value, int) else value
        return f"{key.name} is now handled by {getattr(handler, '__qualname__', handler)}"

    def clear(self, key: signal.Signals, before: Any, after: object) -> None:
        if before is not None:
            with contextlib.suppress(ValueError):  # only the main thread may
                signal.signal(key, before)


class ExceptionHandlers:
    """What a loop calls for an error that no task awaits: a test that replaces it hides the errors of the next."""

    name = "exception handler of the loop"
    setting = True

    def __init__(self, loops: Callable[[], list[asyncio.AbstractEventLoop]]) -> None:
        self._loops = loops

    def now(self) -> dict[Hashable, Any]:
        return {loop: loop.get_exception_handler() for loop in self._loops()}

    def birth(self, key: object, value: object) -> Birth | None:
        return None

    def tell(self, key: object, value: object) -> str:
        return f"is now {getattr(value, '__qualname__', value)}, and was not put back"

    def clear(self, key: asyncio.AbstractEventLoop, before: Any, after: object) -> None:
        key.set_exception_handler(before)


class Global:
    """One value of the process, and how it is put back."""

    setting = True

    def __init__(
        self,
        name: str,
        read: Callable[[], Any],
        write: Callable[[Any], object],
        last: Callable[[], Birth | None] = lambda: None,
        show: Callable[[Any], str] = str,
    ) -> None:
        self.name = name
        self._read = read
        self._write = write
        self._last = last
        self._show = show

    def now(self) -> dict[Hashable, Any]:
        return {self.name: self._read()}

    def birth(self, key: object, value: object) -> Birth | None:
        return self._last()

    def tell(self, key: object, value: object) -> str:
        return f"was changed to {self._show(value)} and not put back"

    def clear(self, key: object, before: Any, after: object) -> None:
        self._write(before)


def globals_of(origins: Origins) -> list[Global]:
    """Return what the standard library keeps once for the whole process."""
    return [
        Global("working folder", _folder, os.chdir, lambda: origins.last.get("folder")),
        Global("sys.path", lambda: tuple(sys.path), _set_path),
        Global("umask", _umask, os.umask, show=lambda mask: f"{mask:#o}"),
        Global("logging.disable", lambda: logging.root.manager.disable, logging.disable),
        Global("default timeout of sockets", socket.getdefaulttimeout, socket.setdefaulttimeout),
        Global("time zone", lambda: time.tzname, lambda _: getattr(time, "tzset", int)()),  # TZ is put back already
        Global("locale", lambda: locale.setlocale(locale.LC_ALL), lambda was: locale.setlocale(locale.LC_ALL, was)),
        Global("decimal context", _decimal_context, _set_decimal_context),
        Global("garbage collection", lambda: (gc.isenabled(), gc.get_threshold()), _set_garbage_collection),
        Global("mock.patch", _started_mocks, _stop_mocks),
    ]


def _decimal_context() -> tuple[int, str] | None:
    decimal = sys.modules.get("decimal")
    context = decimal.getcontext() if decimal is not None else None
    return (context.prec, context.rounding) if context is not None else None


def _set_decimal_context(before: tuple[int, str] | None) -> None:
    import decimal

    standard = decimal.DefaultContext
    context = decimal.getcontext()
    context.prec, context.rounding = before or (standard.prec, standard.rounding)


def _set_garbage_collection(before: tuple[bool, tuple[int, int, int]]) -> None:
    enabled, threshold = before
    gc.set_threshold(*threshold)
    if enabled:
        gc.enable()
    else:
        gc.disable()


def _started_mocks() -> tuple[Any, ...]:
    """Return what `mock.patch(…).start()` replaced and nothing has stopped yet."""
    mock = sys.modules.get("unittest.mock")
    return tuple(mock._patch._active_patches) if mock is not None else ()


def _stop_mocks(before: tuple[Any, ...]) -> None:
    for patch in reversed(_started_mocks()):
        if patch not in before:
            patch.stop()


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
