"""A real cluster on loopback: three masters, no replicas, each a process of this run's own that can be paused, killed and begun again."""

from __future__ import annotations

import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from test_framework import reaper
from test_framework.service_pool import ServicePool
from test_framework.services import bundled, port_leases, process_table
from test_framework.services.processes import STOPPING_SECONDS
from test_framework.waiting import comes_true

SLOTS = 16384
FORMED_SECONDS = 15.0


@dataclass
class Master:
    """One server of a cluster, at the same address whatever becomes of it."""

    home: Path
    port: int
    bus_port: int
    password: str
    register: Path
    keeper: Context = field(default_factory=copy_context)
    """Whoever made it keeps it, also when it begins anew in the middle of somebody's test."""
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}"

    @contextmanager
    def client(self) -> Iterator[Redis]:
        with Redis.from_url(self.url, decode_responses=True, socket_timeout=1.0) as client:
            yield client

    def start(self) -> None:
        self.keeper.run(self._begin)

    def _begin(self) -> None:
        binary = bundled.find("redis")
        assert isinstance(binary, Path), binary
        self.home.mkdir(exist_ok=True)
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen([str(binary), *self._options()], cwd=self.home, stdout=log, stderr=log)
        started = process_table.started_at(self.process.pid) or ""
        home = str(self.home)
        entry = reaper.Registration(
            kind="process", pid=self.process.pid, started=started, signal=signal.SIGKILL, home=home
        )
        reaper.register(self.register, entry)
        wait_until(self._answers, f"an answer of {self}")

    def _options(self) -> list[str]:
        options = {
            "port": self.port,
            "cluster-port": self.bus_port,
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": 1000,
            "bind": "127.0.0.1",
            "requirepass": self.password,
            "save": "",
            "appendonly": "no",
        }
        return [word for name, value in options.items() for word in (f"--{name}", str(value))]

    def _answers(self) -> bool:
        with self.client() as client:
            return bool(client.ping())

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def unpause(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(STOPPING_SECONDS)

    def __str__(self) -> str:
        return f"the master on port {self.port}"


class Cluster:
    def __init__(self, masters: list[Master]) -> None:
        self.masters = masters

    @property
    def url(self) -> str:
        return self.masters[0].url

    def of(self, channel: str) -> Master:
        """The master that serves a channel."""
        with self.masters[0].client() as client:
            slot = say(client, "CLUSTER", "KEYSLOT", channel)
            [port] = [ports for first, last, ports in _shares(client) if first <= slot <= last]
        return next(master for master in self.masters if master.port == port)

    def move(self, channel: str, to: Master) -> None:
        """Give the slot of a channel to another master, as an operator does who spreads the load anew."""
        with to.client() as client:
            slot = say(client, "CLUSTER", "KEYSLOT", channel)
            identity = say(client, "CLUSTER", "MYID")
            say(client, "CLUSTER", "BUMPEPOCH")  # of two that claim a slot, the later epoch is believed
        for master in [to, *(other for other in self.masters if other is not to)]:
            with master.client() as client:
                say(client, "CLUSTER", "SETSLOT", slot, "NODE", identity)
        wait_until(self._whole, "a cluster of one mind")

    def heal(self) -> None:
        """Have every master run and know of all the others."""
        for master in self.masters:
            if master.process.poll() is not None:
                master.start()
            master.unpause()
        wait_until(self._whole, "a cluster that is whole")

    def _whole(self) -> bool:
        views = set()
        for master in self.masters:
            with master.client() as client:
                if "cluster_state:ok" not in str(say(client, "CLUSTER", "INFO")):
                    return False
                views.add(tuple(sorted(_shares(client))))
        return len(views) == 1


@contextmanager
def redis_cluster(pool: ServicePool, masters: int = 3) -> Iterator[Cluster]:
    """Run a cluster until the block ends; whatever ends the run ends its servers too."""
    pool.begin()
    password = secrets.token_urlsafe(16)
    leases = port_leases.lease_many([f"cluster-{number}" for number in range(masters * 2)])
    ports = [lease.port for lease in leases]
    nodes = [
        Master(pool.stack.directory / f"cluster-{port}", port, bus_port, password, pool.stack.register)
        for port, bus_port in zip(ports[::2], ports[1::2], strict=True)
    ]
    try:
        for number, node in enumerate(nodes):
            node.start()
            with node.client() as client:
                first, last = SLOTS * number // masters, SLOTS * (number + 1) // masters - 1
                say(client, "CLUSTER", "ADDSLOTSRANGE", first, last)
                for other in nodes[:number]:
                    say(client, "CLUSTER", "MEET", "127.0.0.1", other.port, other.bus_port)
        cluster = Cluster(nodes)
        wait_until(cluster._whole, "a cluster that is whole", FORMED_SECONDS)
        yield cluster
    finally:
        for node in nodes:
            if hasattr(node, "process"):
                node.kill()
        for lease in leases:
            lease.release()


def _shares(client: Redis) -> list[tuple[int, int, int]]:
    return [(first, last, master[1]) for first, last, master, *_ in say(client, "CLUSTER", "SLOTS")]


def wait_until(there: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    """Wait, also where looking fails: who does not answer is not there yet."""

    def answers() -> bool:
        with suppress(RedisError, OSError):
            return there()
        return False

    comes_true(answers, what, seconds)


def connections_of(cluster: Cluster) -> set[tuple[int, str]]:
    """Who is connected to which master."""
    found = set()
    for master in cluster.masters:
        with master.client() as client:
            found |= {(master.port, entry["id"]) for entry in client.client_list() if entry["cmd"] != "client|list"}
    return found


def say(client: Redis, *words: object) -> Any:
    """Send one command in its own words."""
    return client.execute_command(*words)  # type: ignore[no-untyped-call]
