"""The one place where services are started, paused, healed and ended: look, take one step, look again, until the deadline.

Every operation is idempotent and holds a lock between processes, so that two shells that want the same service get one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from test_framework import reaper
from test_framework.services.gate import inside, open_gate
from test_framework.services.healing import Healing, Report, waits
from test_framework.services.provider import Provider
from test_framework.services.stack import Stack, own_directory
from test_framework.services.state import (
    Observation,
    ServiceError,
    ServiceName,
    State,
)

if TYPE_CHECKING:
    from filelock import BaseFileLock

DEADLINE_SECONDS = 30.0
ENDED = frozenset({State.ABSENT, State.CREATED, State.EXITED, State.DEAD})


class Lifecycle:
    """Brings the services of one stack, run by one provider, where they are wanted."""

    def __init__(
        self, stack: Stack, provider: Provider, report: Report | None = None, register: Path | None = None
    ) -> None:
        self.stack = stack
        self.provider = provider
        self.register = register
        self.report = report or (lambda service, observation: None)

    def ensure(self, service: ServiceName, seconds: float = DEADLINE_SECONDS) -> Observation:
        """Make a service healthy from whatever state it is in, or say why that can't be."""
        with self.locked(service, seconds):
            found = Healing(self.provider, self.report, service, seconds).run()
            self.want(service, State.HEALTHY)
            return found

    def heal(self, service: ServiceName, seconds: float = DEADLINE_SECONDS) -> None:
        """Make a service healthy again if that is what was last asked for."""
        with self.locked(service, seconds):
            if self.wanted(service) is State.HEALTHY:
                Healing(self.provider, self.report, service, seconds).run()

    def pause(self, service: ServiceName, seconds: float = DEADLINE_SECONDS) -> Observation:
        """Freeze a running service; one that does not run is brought up first."""
        with self.locked(service, seconds):
            if self.provider.observe(service).state is not State.PAUSED:
                Healing(self.provider, self.report, service, seconds).run()
                self.want(service, State.PAUSED)
                if self.register:
                    reaper.register_once(self.register, self.provider.frozen(service))
                self.provider.pause(service)
            return self.verify(service, {State.PAUSED}, "paused", seconds)

    def unpause(self, service: ServiceName, seconds: float = DEADLINE_SECONDS) -> Observation:
        """Let a frozen service go on; leave any other as it is."""
        with self.locked(service, seconds):
            if self.register:
                reaper.unregister(self.register, self.provider.frozen(service))
            self.want(service, State.HEALTHY)
            found = self.provider.observe(service)
            if found.state is not State.PAUSED:
                return found
            self.provider.unpause(service)
            return self.verify(service, set(State) - {State.PAUSED}, "unpaused", seconds)

    def stop(self, service: ServiceName, seconds: float = DEADLINE_SECONDS) -> Observation:
        """End a service in good order; its data stays."""
        return self.end(service, self.provider.stop, seconds)

    def kill(self, service: ServiceName, seconds: float = DEADLINE_SECONDS) -> Observation:
        """End a service as a crash would; its data stays."""
        return self.end(service, self.provider.kill, seconds)

    def end(self, service: ServiceName, step: Callable[[ServiceName], None], seconds: float) -> Observation:
        with self.locked(service, seconds):
            found = self.provider.observe(service)
            self.want(service, State.EXITED)
            if found.state in ENDED:
                return found
            step(service)
            return self.verify(service, ENDED, "ended", seconds)

    def restart(self, service: ServiceName, seconds: float = DEADLINE_SECONDS) -> Observation:
        """End a service in good order and bring it up again, on the same socket where it has one."""
        self.stop(service, seconds)
        return self.ensure(service, seconds)

    def remove(self, service: ServiceName, *, data: bool, seconds: float = DEADLINE_SECONDS) -> None:
        """End a service and take away what is left of it; its data too, if asked."""
        self.stop(service, seconds)
        with self.locked(service, seconds):
            self.provider.remove(service, data=data)
            self.wish(service).unlink(missing_ok=True)

    @contextlib.contextmanager
    def paused(self, service: ServiceName) -> Iterator[None]:
        """Freeze a service for the length of a block; it goes on afterwards, even when we are killed in the midst of it."""
        with self.watched() as lifecycle:
            lifecycle.pause(service)
            try:
                yield
            finally:
                lifecycle.unpause(service)

    @contextlib.contextmanager
    def watched(self) -> Iterator[Lifecycle]:
        """Yield a lifecycle whose register a watchdog reads: a run has one, and for anybody else we set one."""
        if self.register:
            yield self
            return
        from test_framework.services.run import Watchdog

        home = own_directory(own_directory(self.stack.directory) / f"pauses-{os.getpid()}")
        register = home / "register"
        watchdog = Watchdog(register, home)
        open_gate(home)
        try:
            yield Lifecycle(self.stack, self.provider, self.report, register)
        finally:
            watchdog.dismiss()
            shutil.rmtree(home, ignore_errors=True)

    def want(self, service: ServiceName, state: State) -> None:
        """Write down what somebody asked for, so that a guardian mends only what nobody did on purpose."""
        own_directory(self.stack.directory)
        self.wish(service).write_text(state.value)

    def wanted(self, service: ServiceName) -> State | None:
        """Return what was last asked for, by any process."""
        try:
            return State(self.wish(service).read_text())
        except (FileNotFoundError, ValueError):
            return None

    def wish(self, service: ServiceName) -> Path:
        return self.stack.directory / f"{service}.wanted"

    def verify(
        self, service: ServiceName, wanted: set[State] | frozenset[State], word: str, seconds: float
    ) -> Observation:
        """Wait until a step that was taken also shows."""
        deadline = time.monotonic() + seconds
        for wait in waits():
            found = self.provider.observe(service)
            if found.state in wanted:
                self.report(service, found)
                return found
            if time.monotonic() + wait > deadline:
                break
            time.sleep(wait)
        why = f"after {seconds:g} s it is still {found}"
        raise ServiceError(f"{service} was not {word}", why, "invoke services.status")

    @contextlib.contextmanager
    def locked(self, service: ServiceName, seconds: float) -> Iterator[None]:
        from filelock import Timeout

        run = inside(self.register.parent) if self.register else contextlib.nullcontext()
        try:
            with run, self.lock(service).acquire(timeout=seconds):
                yield
        except Timeout as reason:
            why = f"another process has held its lock for {seconds:g} s ({reason.lock_file})"
            raise ServiceError(f"{service} is busy", why, "invoke services.status") from None

    def lock(self, service: ServiceName) -> BaseFileLock:
        from filelock import FileLock

        return FileLock(self.stack.lock_file(service))
