"""A process that a test starts hears its signals, also where the run itself ignores some, because it was begun by `nohup` or with `&`."""

from __future__ import annotations

import signal
from collections.abc import Callable

from app.lifecycle.signals import STOP_SIGNALS


def hearing() -> Callable[[], None] | None:
    """What a new process does before it begins (`preexec_fn`), where what it would inherit makes it deaf."""
    ignored = [number for number in STOP_SIGNALS if signal.getsignal(number) is signal.SIG_IGN]

    def hear() -> None:
        for number in ignored:
            signal.signal(number, signal.SIG_DFL)

    return hear if ignored else None
