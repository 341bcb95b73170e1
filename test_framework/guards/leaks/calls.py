"""Who began which thread and set which handler: Python announces that to nobody, so the functions that do it are listened to."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from test_framework.guards.leaks.origins import Birth, birth

ALARM = getattr(signal, "SIGALRM", None)
"""pytest-timeout sets it for each test, so that it says nothing about the test."""


class Calls:
    def __init__(self, threads: WeakKeyDictionary[Any, Birth]) -> None:
        self.births: WeakKeyDictionary[logging.Handler, Birth] = WeakKeyDictionary()
        self.by_libraries: WeakSet[logging.Handler] = WeakSet()
        self.signals: dict[int, Birth] = {}
        self._threads = threads
        self._add, self._set, self._start = logging.Logger.addHandler, signal.signal, threading.Thread.start

    def listen(self) -> None:
        """Note who calls them from now on."""

        @functools.wraps(self._add)
        def add(logger: logging.Logger, handler: logging.Handler) -> None:
            self._add(logger, handler)
            if is_pytests_own(handler):
                return
            self.births[handler] = birth()
            if _is_a_library(_caller_outside(sys._getframe(1), logging.__file__)):
                self.by_libraries.add(handler)

        @functools.wraps(self._set)
        def set_(number: Any, handler: Any) -> Any:
            if number != ALARM:
                self.signals[number] = birth()
            return self._set(number, handler)

        @functools.wraps(self._start)
        def start(thread: threading.Thread) -> None:
            self._threads[thread] = birth()
            self._start(thread)

        threading.Thread.start = start  # type: ignore[assignment, method-assign]
        logging.Logger.addHandler = add  # type: ignore[assignment, method-assign]
        signal.signal = set_  # type: ignore[assignment]

    def stop(self) -> None:
        threading.Thread.start = self._start  # type: ignore[method-assign]
        logging.Logger.addHandler, signal.signal = self._add, self._set  # type: ignore[method-assign]


def is_pytests_own(handler: logging.Handler) -> bool:
    """Whether pytest made it, as it does twice for each phase of a test."""
    return type(handler).__module__.startswith("_pytest")


def _caller_outside(frame: FrameType | None, module: str) -> str:
    while frame is not None and os.path.dirname(frame.f_code.co_filename) == os.path.dirname(module):
        frame = frame.f_back
    return frame.f_code.co_filename if frame is not None else ""


def _is_a_library(file: str) -> bool:
    return f"{os.sep}site-packages{os.sep}" in file
