"""The stop signals of a process.

While a block runs, the first signal asks for a graceful shutdown and every later one for an immediate exit. Inside an
event loop both listeners are called in the loop. After the block all previous handlers are restored. Blocks may be
nested, and `pass_on` passes a signal to the previous handler.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

Listener = Callable[[signal.Signals], object]

STOP_SIGNALS = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__
)


class NotTheMainThreadError(RuntimeError):
    """Signals can be routed in the main thread only."""


@contextmanager
def signals_routed(on_signal: Listener, on_force: Listener, *, required: bool = True) -> Iterator[SignalRoute | None]:
    """Route the stop signals to listeners; outside the main thread raise if required."""
    if threading.current_thread() is not threading.main_thread():
        if required:
            raise NotTheMainThreadError(
                f"signals can't be routed from the thread {threading.current_thread().name!r}: enter the block in "
                "the main thread, or pass required=False where the service runs inside another program"
            )
        yield None
        return
    route = SignalRoute(on_signal, on_force)
    route.open()
    try:
        yield route
    finally:
        route.close()


class SignalRoute:
    """The route of the stop signals to two listeners; `signals_routed` makes it."""

    def __init__(self, on_signal: Listener, on_force: Listener) -> None:
        self._on_signal = on_signal
        self._on_force = on_force
        self._signalled = False
        self._pid = os.getpid()
        # Signals that are ignored stay ignored (nohup); a handler that is not Python's could not be restored.
        self._previous = {
            number: previous
            for number in STOP_SIGNALS
            if (previous := signal.getsignal(number)) not in (None, signal.SIG_IGN)
        }
        self._loop = _running_loop()
        self._wakeup = _WakeupSocket(self._loop, self._previous) if self._loop and sys.platform != "win32" else None

    def open(self) -> None:
        """Install the handlers."""
        if self._wakeup is not None:
            self._wakeup.install()
        for number in self._previous:
            signal.signal(number, self._handle)

    def close(self) -> None:
        """Restore the previous handlers."""
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        if self._wakeup is not None:
            self._wakeup.uninstall()

    def pass_on(self, number: signal.Signals) -> None:
        """Pass a signal to the previous handler; the default one ends the process."""
        previous = self._previous.get(number)
        if callable(previous):
            previous(number, None)
            if self._wakeup is not None:
                self._wakeup.forward(bytes([number]))
        elif previous is not None:
            _end_by(number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            _end_by(number)  # a forked child is not this service: its parent's signal must end it
        listener = self._on_force if self._signalled else self._on_signal
        self._signalled = True
        if self._loop is None or self._loop.is_closed():
            listener(signal.Signals(number))
        else:
            self._loop.call_soon_threadsafe(listener, signal.Signals(number))


class _WakeupSocket:
    """Wakes an idle event loop when a signal comes, by `signal.set_wakeup_fd`.

    `loop.add_signal_handler` does that too, but can't restore the file descriptor of a previous owner.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, handled: Iterable[int]) -> None:
        self._loop = loop
        self._handled = frozenset(handled)

    def install(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._previous_fd = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        self._loop.add_reader(self._receiver, self._on_wakeup)

    def uninstall(self) -> None:
        installed = signal.set_wakeup_fd(self._previous_fd)
        if installed != self._sender.fileno():
            signal.set_wakeup_fd(installed)  # a later owner's, who still uses it
        if not self._loop.is_closed():
            self._loop.remove_reader(self._receiver)
        self._receiver.close()
        self._sender.close()

    def forward(self, numbers: bytes) -> None:
        if self._previous_fd != -1 and numbers:
            with suppress(BlockingIOError):
                os.write(self._previous_fd, numbers)

    def _on_wakeup(self) -> None:
        numbers = self._receiver.recv(4096)
        self.forward(bytes(number for number in numbers if number not in self._handled))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _end_by(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
