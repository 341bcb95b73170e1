"""How a process hears that it should end.

For the length of a block, the first signal asks it to end in good order and every later one asks it to end now.
Inside an event loop both are called in the loop. Afterwards everything is as it was before, to the last handler;
blocks may be nested, and whoever listened before can be handed the signal with `pass_on`.
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
    """Only the main thread of a process may say what its signals do."""


@contextmanager
def signals_routed(on_signal: Listener, on_force: Listener, *, required: bool = True) -> Iterator[SignalRoute | None]:
    """Route the stop signals here; outside the main thread raise, or do nothing when it isn't required."""
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
    """Where the stop signals go; `signals_routed` makes it."""

    def __init__(self, on_signal: Listener, on_force: Listener) -> None:
        self._on_signal = on_signal
        self._on_force = on_force
        self._heard = False
        self._pid = os.getpid()
        # What was ignored stays ignored (nohup); what was not set up by Python could not be put back.
        self._previous = {
            number: previous
            for number in STOP_SIGNALS
            if (previous := signal.getsignal(number)) not in (None, signal.SIG_IGN)
        }
        self._loop = _running_loop()
        self._doorbell = _Doorbell(self._loop, self._previous) if self._loop and sys.platform != "win32" else None

    def open(self) -> None:
        """Begin to listen."""
        if self._doorbell is not None:
            self._doorbell.mount()
        for number in self._previous:
            signal.signal(number, self._hear)

    def close(self) -> None:
        """Put back what was there before."""
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        if self._doorbell is not None:
            self._doorbell.take_down()

    def pass_on(self, number: signal.Signals) -> None:
        """Hand a signal to whoever listened before; when nobody did, it ends the process as it would have."""
        previous = self._previous.get(number)
        if callable(previous):
            previous(number, None)
            if self._doorbell is not None:
                self._doorbell.ring_next_door(bytes([number]))
        elif previous is not None:
            _die_of(number)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            _die_of(number)  # a forked child is not this service, and must not be deaf to its parent
        listener = self._on_force if self._heard else self._on_signal
        self._heard = True
        if self._loop is None or self._loop.is_closed():
            listener(signal.Signals(number))
        else:
            self._loop.call_soon_threadsafe(listener, signal.Signals(number))


class _Doorbell:
    """Wakes a sleeping event loop when a signal comes.

    `loop.add_signal_handler` has a bell of its own, but can't give back what another owner had put there.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ours: Iterable[int]) -> None:
        self._loop = loop
        self._ours = frozenset(ours)

    def mount(self) -> None:
        self._bell, self._button = socket.socketpair()
        self._bell.setblocking(False)
        self._button.setblocking(False)
        self._next_door = signal.set_wakeup_fd(self._button.fileno(), warn_on_full_buffer=False)
        self._loop.add_reader(self._bell, self._rang)

    def take_down(self) -> None:
        mounted = signal.set_wakeup_fd(self._next_door)
        if mounted != self._button.fileno():
            signal.set_wakeup_fd(mounted)  # somebody else's, who came after us and is still there
        if not self._loop.is_closed():
            self._loop.remove_reader(self._bell)
        self._bell.close()
        self._button.close()

    def ring_next_door(self, numbers: bytes) -> None:
        if self._next_door != -1 and numbers:
            with suppress(BlockingIOError):
                os.write(self._next_door, numbers)

    def _rang(self) -> None:
        numbers = self._bell.recv(4096)
        self.ring_next_door(bytes(number for number in numbers if number not in self._ours))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _die_of(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
