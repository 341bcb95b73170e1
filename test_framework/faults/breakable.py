"""What a test may break, and how: each fault lasts for the length of a block, or for some seconds of it, and is always healed.

The servers are of a worker's own, on the provider of the run, and keep their data; what leads to them is a proxy, so that
they are at the same address however often they are killed. Should the tests themselves be killed, the watchdog of their run
heals what was frozen and takes the rest away.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from test_framework import CHECKOUT
from test_framework.faults.slow_proxy import ProxyThread, SlowProxy
from test_framework.service_pool import ServicePool
from test_framework.services.drivers import drivers, service_names
from test_framework.services.fault import Fault
from test_framework.services.lifecycle import DEADLINE_SECONDS
from test_framework.services.service import Service
from test_framework.services.stack import Storage
from test_framework.services.state import ServiceName

BALLAST = "ballast"


@dataclass(frozen=True)
class Breakable(Service):
    """A service at an address that stays, whatever is done to it."""

    way: SlowProxy

    @property
    def url(self) -> str:
        """Where a client reaches it, now and after whatever was done to it."""
        return self.way.url


class Network:
    """The ways to the services: what is done here is done to all of them, or to those that are named."""

    def __init__(self, proxies: ProxyThread, ways: Callable[[Sequence[ServiceName]], Sequence[SlowProxy]]) -> None:
        self._proxies, self._ways = proxies, ways

    def delayed(self, ms: float, jitter: float = 0.0, *only: ServiceName, for_: float | None = None) -> Fault:
        """Make every byte late by so many milliseconds, and by up to `jitter` more."""
        return Fault(lambda: self._slow(ms / 1000, jitter / 1000, only), lambda: self._slow(0.0, 0.0, only), for_)

    def cut(self, *only: ServiceName, for_: float | None = None) -> Fault:
        """Break every connection and let none through."""
        return Fault(lambda: self._shut(True, only), lambda: self._shut(False, only), for_)

    def broken(self, *only: ServiceName) -> None:
        """Break every connection once; the next one gets through."""
        with self.cut(*only):
            pass

    def _slow(self, delay: float, jitter: float, only: Sequence[ServiceName]) -> None:
        for way in self._ways(only):
            way.delay, way.jitter = delay, jitter

    def _shut(self, shut: bool, only: Sequence[ServiceName]) -> None:
        ways = self._ways(only)  # it may have to bring one up, which takes the very loop that turns them

        async def turn() -> None:
            for way in ways:
                way.shut = shut
                if shut:
                    way.cut()

        self._proxies.run(turn())


class Disk:
    """The small disk that a service keeps its data on."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def full(self, for_: float | None = None) -> Fault:
        """Fill it to the last byte."""
        return Fault(lambda: self._run(f"cat /dev/zero > {BALLAST}"), self._empty, for_)

    def _empty(self) -> None:
        self._run(f"rm -f {BALLAST}")
        self._service.ensure()

    def _run(self, line: str) -> None:
        self._service.lifecycle.provider.run_in_data(self._service.name, line)


class BreakablePool(ServicePool):
    """Servers that a test may break: nobody else's, and always at the same address."""

    def __init__(
        self,
        wanted: str | None = None,
        *,
        say: Callable[[str], None] | None = None,
        checkout: Path = CHECKOUT,
        storage: Storage = "kept",
    ) -> None:
        super().__init__(wanted, say=say, checkout=checkout, own=storage)
        self._proxies: ProxyThread | None = None
        self._ways: dict[ServiceName, SlowProxy] = {}

    def get(self, name: ServiceName, seconds: float = DEADLINE_SECONDS) -> Breakable:
        """Return a healthy service at the address where it stays, and start it if this is the first to ask."""
        found = super().get(name, seconds)
        assert isinstance(found, Breakable)
        return found

    @property
    def network(self) -> Network:
        return Network(self._thread(), lambda only: [self.get(name).way for name in only or service_names()])

    @property
    def disk(self) -> Disk:
        return Disk(self.get(next(driver.name for driver in drivers().values() if driver.disk_variable)))

    def heal(self) -> None:
        """Make whole whatever a test has left broken."""
        for name, way in list(self._ways.items()):
            way.delay, way.jitter, way.shut = 0.0, 0.0, False
            self.get(name).ensure()

    def stop_all(self) -> None:
        if self._proxies is not None:
            for way in self._ways.values():
                self._proxies.run(way.close())
            self._proxies.end()
            self._proxies = None
        self._ways.clear()
        shutil.rmtree(self.stack.directory / "ways", ignore_errors=True)
        super().stop_all()

    def _bring_up(self, name: ServiceName, seconds: float) -> Breakable:
        service = super()._bring_up(name, seconds)
        folder = self.stack.directory / "ways" / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        way = SlowProxy(lambda: service.lifecycle.provider.url(name), folder)
        self._thread().run(way.open())
        self._ways[name] = way
        return Breakable(**vars(service), way=way)

    def _thread(self) -> ProxyThread:
        with self._lock:
            if self._proxies is None:
                self._proxies = ProxyThread()
            return self._proxies
