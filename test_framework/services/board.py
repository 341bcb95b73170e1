"""One line per service and its state, drawn in place on a terminal that can, and written line by line elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from test_framework.services.state import Observation, ServiceName, State

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

COLOURS = {State.HEALTHY: "green", State.PAUSED: "yellow", State.UNHEALTHY: "red", State.DEAD: "red"}


class Board:
    """Shows what the lifecycle reports."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.lines: dict[ServiceName, tuple[Observation, float]] = {}
        self.lock = threading.Lock()
        self.live: Live | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI"):
            from rich.console import Console
            from rich.live import Live

            self.live = Live(
                console=Console(stderr=True), transient=True, refresh_per_second=20, get_renderable=self.draw
            )
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()

    def report(self, service: ServiceName, found: Observation) -> None:
        """Take in what a service's state is now."""
        seconds = time.monotonic() - self.began
        with self.lock:
            self.lines[service] = found, seconds
            if self.live is None:
                print(f"{seconds:6.2f} s  {service:9} {found}", file=sys.stderr, flush=True)

    def draw(self) -> Text:
        from rich.text import Text

        drawn = Text()
        with self.lock:
            for service, (found, seconds) in sorted(self.lines.items()):
                waited = seconds if found.state is State.HEALTHY else time.monotonic() - self.began
                drawn.append(f"{service:9} ").append(found.state.value, COLOURS.get(found.state, "cyan"))
                drawn.append(f"  {waited:.1f} s  {found.detail}\n", "dim")
        return drawn
