"""What the run's processes and services use, looked at about once a second by a thread that keeps itself cheap.

The thread measures its own cost and looks less often where looking is dear, so that it never takes more than a hundredth
of a processor.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

INTERVAL_SECONDS = 1.0
SHARE = 0.01


class Sampler:
    """Reports what the run uses, until it is stopped."""

    def __init__(self, tell: Callable[[dict[str, object]], None], interval: float = INTERVAL_SECONDS) -> None:
        self._tell = tell
        self._interval = interval
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="resource samples", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5 * self._interval)

    def _run(self) -> None:
        from test_framework.reporting.process_tree import ProcessTree

        tree = ProcessTree()
        pause = self._interval
        while not self._stopping.wait(pause):
            began = time.thread_time()
            self._tell({"time": time.time(), **vars(tree.look())})
            pause = max(self._interval, (time.thread_time() - began) / SHARE)
