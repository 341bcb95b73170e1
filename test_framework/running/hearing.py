"""A process that a test starts hears its signals, and all that it says is heard.

The run itself may ignore some signals, because it was begun by `nohup` or with `&`, and a child would inherit that.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

STOP_SIGNALS = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__
)


def hearing() -> Callable[[], None] | None:
    """What a new process does before it begins (`preexec_fn`), where what it would inherit makes it deaf."""
    ignored = [number for number in STOP_SIGNALS if signal.getsignal(number) is signal.SIG_IGN]

    def hear() -> None:
        for number in ignored:
            signal.signal(number, signal.SIG_DFL)

    return hear if ignored else None


def rest_of(process: subprocess.Popen[str], seconds: float) -> tuple[str, str]:
    """What a child has still to say until it ends, after lines of it were read: `communicate` loses what came with such a line."""
    assert process.stdout is not None
    assert process.stderr is not None
    with ThreadPoolExecutor(2) as readers:
        said, complained = readers.submit(process.stdout.read), readers.submit(process.stderr.read)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return said.result(), complained.result()
