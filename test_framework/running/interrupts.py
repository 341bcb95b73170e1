"""How a test run hears that it should end: SIGTERM and SIGHUP are heard as Ctrl-C is, and a second signal ends it at once.

The first lets fixtures and services end in good order, and where they are ending already they go on. The second ends this process and its children without another word
from Python; what the run had registered is ended by its watchdog. Workers are told by their controller, once, whoever else
was told. Whoever listened before listens again afterwards.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from test_framework.running.exits import FORCED

Handler = Callable[[int, FrameType | None], object]

_leave = os._exit  # the real one: this end has been announced

HEARD_BY_THEMSELVES_SECONDS = 0.2  # Ctrl-C in a terminal reaches the workers too
AS_CTRL_C = tuple(signal.Signals[name] for name in ("SIGTERM", "SIGHUP") if name in signal.Signals.__members__)


class Interrupts:
    """What the stop signals do to this run; outside the main thread, nothing."""

    def __init__(self, say: Callable[[str], None], *, worker: bool) -> None:
        self._say = say
        self._worker = worker
        self._pid = os.getpid()
        self._before: dict[signal.Signals, object] = {}
        self._messenger: threading.Timer | None = None
        self._interrupted = False
        self.heard: signal.Signals | None = None

    @contextmanager
    def routed(self) -> Iterator[None]:
        """Listen until the block ends, then give back what was there, unless somebody else listens by now."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, *AS_CTRL_C)}
            self._listen(AS_CTRL_C, self._hear)
        try:
            yield
        finally:
            if self._messenger is not None:
                self._messenger.cancel()
            for number, previous in self._before.items():
                if signal.getsignal(number) in (self._hear, self._at_the_end, self._again):
                    signal.signal(number, previous)  # type: ignore[arg-type]

    def interrupted(self, workers: Iterable[int]) -> None:
        """Let the workers know too; from now on, a signal ends the run at once."""
        self._interrupted = True
        self._listen(self._before, self._again)
        if pids := list(workers):
            self._messenger = threading.Timer(HEARD_BY_THEMSELVES_SECONDS, _tell, [pids])
            self._messenger.daemon = True
            self._messenger.start()

    def ending(self) -> None:
        """From now on, a signal interrupts nothing: the tests have run, and what is left to do is to end in good order."""
        if not self._interrupted:
            self._listen(self._before, self._at_the_end)

    def _listen(self, numbers: Iterable[signal.Signals], handler: Handler) -> None:
        for number in numbers:
            if self._before[number] is not signal.SIG_IGN:  # what nohup ignores stays ignored
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._is_for_a_forked_child(number):
            return
        self.heard = signal.Signals(number)
        ctrl_c = signal.getsignal(signal.SIGINT)
        if callable(ctrl_c):
            ctrl_c(signal.SIGINT, frame)
        else:
            raise KeyboardInterrupt

    def _at_the_end(self, number: int, frame: FrameType | None) -> None:
        if self._is_for_a_forked_child(number):
            return
        self._listen(self._before, self._again)
        if not self._worker:
            self._say(
                f"{signal.Signals(number).name} while the run was ending, which goes on; once more ends it at once"
            )

    def _is_for_a_forked_child(self, number: int) -> bool:
        """Such a child is not this run, and must not be deaf to its parent."""
        if os.getpid() == self._pid:
            return False
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
        return True

    def _again(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self._pid:
            if self._worker:
                return  # its controller decides, and kills it if need be
            self._say(f"{signal.Signals(number).name} after the run was interrupted: it ends at once")
            end_children()
        _leave(FORCED)


def _tell(workers: list[int]) -> None:
    for worker in workers:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGINT)


def end_children() -> None:
    """Kill every process that descends from this one, but the watchdogs: they have still to clean up after us."""
    import psutil

    from test_framework import reaper

    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if reaper.__file__ not in child.cmdline():
                for process in (*child.children(recursive=True), child):
                    process.kill()
