"""The guards that watch a run: loops, leaks and swallowed violations.

`running/watched_run.py` calls them from pytest's hooks; they return what a test fails with.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from test_framework.guards import offences
from test_framework.guards.leaks.arrivals import Arrivals
from test_framework.guards.leaks.ledger import LeakVerdict, Ledger
from test_framework.guards.leaks.origins import Origins, listen, settle_on
from test_framework.guards.leaks.owners import Owner, at_work
from test_framework.guards.loops.homes import Homes
from test_framework.guards.loops.running import watch_runs
from test_framework.guards.loops.waits import watch_locks
from test_framework.guards.timeouts import watch_time

ORIGIN_LINES = 2
DEBUG_LINES = 10


class RuntimeGuards:
    """One per process of a run."""

    def __init__(self, root: Path, leaks: LeakVerdict, basetemp: Callable[[], str], *, async_debug: bool) -> None:
        self._root = root
        self._async_debug = async_debug
        self._arrivals = Arrivals()
        self._homes = Homes()
        self._undo: list[Callable[[], object]] = []
        self._watches_blocking = False
        self._slow: Any = None
        self._said_at_timeout = ""
        self._owner = Owner("no test")
        self.verdict = leaks
        self._origins = Origins()
        self.ledger = Ledger(leaks, self._origins, self._arrivals, basetemp) if leaks is not LeakVerdict.OFF else None

    def start(self) -> None:
        """Begin to watch, before the first test module is imported."""
        self._undo.append(settle_on(self._root))
        if self.ledger is not None:
            self._undo.append(listen(self._origins))
        sys.meta_path.insert(0, self._arrivals)
        self._undo.append(lambda: sys.meta_path.remove(self._arrivals))
        self._homes.watch(self._arrivals)
        self._undo += [self._homes.stop, watch_runs(), watch_locks()]
        sys.set_coroutine_origin_tracking_depth(DEBUG_LINES if self._async_debug else ORIGIN_LINES)
        if self._async_debug:
            from test_framework.guards.async_debug import SlowCallbacks

            self._slow = SlowCallbacks()
            logging.getLogger("asyncio").addHandler(self._slow)
        if self.ledger is not None:
            self.ledger.watch.calls.listen()
            self.ledger.watch.children.orphans.start()
            self._undo += [self.ledger.watch.calls.stop, self.ledger.watch.children.orphans.stop]
        self._undo.append(watch_time(self._who_waits))

    def stop(self) -> None:
        """Take down what can be taken down."""
        sys.set_coroutine_origin_tracking_depth(0)
        while self._undo:
            with contextlib.suppress(ValueError):
                self._undo.pop()()

    def of_the_run(self, name: str) -> AbstractContextManager[None]:
        """Charge what begins in this block to nobody: it ends with the run."""
        return self.fixture(object(), name)

    @contextmanager
    def fixture(self, definition: object, name: str | None) -> Iterator[None]:
        """Charge what begins in this block to a fixture that outlives the test, if it has a name here."""
        if self.ledger is None or name is None:
            yield
            return
        with self.ledger.set_up(definition, name):
            yield

    def loop_made(self, runner: asyncio.Runner) -> None:
        """Watch a loop that tests will run in."""
        if not self._watches_blocking:
            from test_framework.guards.loops.blocking import watch_blocking

            self._undo.append(watch_blocking(self._root))
            self._watches_blocking = True
        if self._async_debug:
            from test_framework.guards.async_debug import debug

            debug(runner.get_loop())
        if self.ledger is not None:
            self.ledger.watch.tasks.watch(runner)

    def fixture_ended(self, definition: object) -> None:
        """Look what a wider fixture left."""
        if self.ledger is not None:
            self.ledger.torn_down(definition)

    @contextmanager
    def test(self, name: str) -> Iterator[list[str]]:
        """Look before and after a test; the list tells what it left, once the block has ended."""
        left: list[str] = []
        if self.ledger is None:
            yield left
            return
        owner = self._owner = self.ledger.begin(name)
        with at_work(owner):
            yield left
        left += self.ledger.end(owner)

    def loop_ends(self) -> None:
        """Look at a loop that ends with its test, before it ends."""
        if self.ledger is not None:
            self.ledger.look_at_tasks(self._owner)

    def after_phase(self) -> str | None:
        """Say what was done wrong in the phase that has just ended."""
        return "\n".join(offences.committed()) or None

    def late(self) -> list[str]:
        """Tell once what wider fixtures left behind."""
        return self.ledger.late() if self.ledger is not None else []

    def worth_telling(self, test: str, facts: dict[str, list[str]]) -> Iterator[str]:
        """What the end of the run should say of a test, where no failure has said it."""
        if self.verdict is LeakVerdict.WARN:
            yield from (f"{test} left behind {line}" for line in facts.get("guards.leaks", ()))
        yield from (f"{test} held up the loop: {line}" for line in facts.get("guards.slow_callbacks", ()))

    def slow_callbacks(self) -> list[str]:
        """Tell once which callbacks held up the loop (`--async-debug`)."""
        return self._slow.take() if self._slow is not None else []

    def said_at_timeout(self) -> str:
        """Tell once who waited for what when the time was up."""
        said, self._said_at_timeout = self._said_at_timeout, ""
        return said

    def _who_waits(self) -> str:
        from test_framework.guards.async_debug import who_waits

        if self.ledger is not None:
            self._said_at_timeout = who_waits(self.ledger.watch.tasks)
        return self._said_at_timeout
