"""What a run's services were asked for: counted by the servers where they count, and added up from all workers.

A worker's share travels to the controller as plain values; how many connections Postgres had at once is looked up by a thread of
the controller's, since no worker can see it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from test_framework.services import probes
from test_framework.services.state import ServiceError

EVERY_SECONDS = 0.2
COUNTED_BY_EACH = frozenset({"healed", "given_up", "database_failures"})
COPIES = "test_"
AWAY = (probes.NotReadyError, probes.WrongServerError, ServiceError, OSError, ValueError)


@dataclass
class Costs:
    """What isolation cost one worker."""

    tests: int = 0
    resets: int = 0
    reset_seconds: float = 0.0
    copies: int = 0
    copy_seconds: float = 0.0
    sessions: int = 0


@dataclass
class Share(Costs):
    """One worker's part, or all of them added up."""

    reused: int = 0
    started: dict[str, float] = field(default_factory=dict)
    redis_connections: dict[str, int] = field(default_factory=dict)
    healed: dict[str, int] = field(default_factory=dict)
    given_up: dict[str, int] = field(default_factory=dict)
    """The services that could be neither brought up nor healed, so that a person would have to."""
    database_failures: dict[str, int] = field(default_factory=dict)
    """Connections to the run's own Postgres that failed or broke, by test and error."""

    def add(self, other: Mapping[str, Any]) -> None:
        """Add another worker's part; what several workers saw of one server counts once."""
        for name, value in other.items():
            mine = getattr(self, name)
            if name in COUNTED_BY_EACH:
                mine.update({key: found + mine.get(key, 0) for key, found in value.items()})
            elif isinstance(value, dict):
                mine.update({key: max(found, mine.get(key, 0)) for key, found in value.items()})
            else:
                setattr(self, name, mine + value)

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Look:
    """What a server said of its connections: how many there are, and how many were opened to each database."""

    now: int
    opened: dict[str, int]


class Watcher:
    """Counts the connections of a server repeatedly, over a separate connection."""

    def __init__(
        self, find: Callable[[], str | None], count: Callable[[str], AbstractContextManager[Iterator[Look]]]
    ) -> None:
        self._find, self._count = find, count
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="connection-watcher", daemon=True)
        self.peak = 0
        self.opened: dict[str, int] = {}

    def begin(self) -> Self:
        self._thread.start()
        return self

    @property
    def by_the_kit(self) -> int:
        """Connections to what is no test's database."""
        return sum(count for name, count in self.opened.items() if not name.startswith(COPIES))

    def end(self) -> None:
        """Stop looking; what was seen stays."""
        self._ended.set()
        self._thread.join(EVERY_SECONDS * 10)

    def _watch(self) -> None:
        while not self._ended.is_set():
            # a server that is paused, killed or made anew by a test is looked at when it is back
            with contextlib.suppress(*AWAY):
                if (url := self._find()) is not None:
                    with self._count(url) as looks:
                        self._look(looks)
            self._ended.wait(EVERY_SECONDS)

    def _look(self, looks: Iterator[Look]) -> None:
        for look in looks:
            self.peak = max(self.peak, look.now)
            self.opened.update(look.opened)
            if self._ended.wait(EVERY_SECONDS):
                return


def lines(share: Share, peak: int, by_the_kit: int, stopped: float | None) -> Iterator[str]:
    """Put it all into a few lines for the end of a run."""
    for name, seconds in sorted(share.started.items()):
        yield f"started {name} in {seconds * 1000:.0f} ms"
    for name, times in sorted(share.healed.items()):
        yield f"healed {name} {times} time{'s'[: times > 1]}, which no test had asked to pause or to end"
    if share.sessions:
        each = f", for {share.tests} tests" if share.tests else ""
        yield f"postgres: {share.sessions + by_the_kit} connections opened{each}, {peak} at once, {share.reused} times one was used again"
    if share.resets or share.copies:
        resets = f"{share.resets} resets of {_each(share.reset_seconds, share.resets)}"
        yield f"databases: {resets}, {share.copies} copies of {_each(share.copy_seconds, share.copies)}"
    if share.redis_connections:
        servers = len(share.redis_connections)
        yield f"redis: {sum(share.redis_connections.values())} connections opened, on {servers} server{'s'[: servers > 1]}"
    if stopped is not None:
        yield f"stopped what the run had started in {stopped * 1000:.0f} ms"


def _each(seconds: float, count: int) -> str:
    return f"{seconds / count * 1000:.1f} ms" if count else "0 ms"
