"""While the guard is up, a process reaches only what it opened itself: no other machine, and no server that happens to run on this one.

A socket that listens is remembered when it is opened by Python; whatever else listens is looked for among this process and
its children. Where nobody listens at all, the connection is refused by the system, as a test may want to see.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

PROBE_SECONDS = 0.5

Place = int | str  # a port on loopback, or the path of a Unix socket


class NetworkBlocked(RuntimeError):
    """A test reached for the network in a mode that has none."""


def is_local(family: int, address: object) -> bool:
    """Whether an address stays on this machine."""
    if family not in {socket.AF_INET, socket.AF_INET6}:
        return True
    host = address[0] if isinstance(address, tuple) and address else ""
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


class ConnectionGate:
    """Knows which places this process has opened, and judges where it wants to go."""

    def __init__(self) -> None:
        self.opened: set[Place] = set()
        self._connect = socket.socket.connect
        self._connect_ex = socket.socket.connect_ex
        self._listen = socket.socket.listen
        self._bind = socket.socket.bind
        self._send_to = socket.socket.sendto
        self._look_up = socket.getaddrinfo

    def connect(self, own: socket.socket, address: object) -> None:
        self.demand_ours(own, address)
        self._connect(own, address)  # type: ignore[arg-type]

    def connect_ex(self, own: socket.socket, address: object) -> int:
        self.demand_ours(own, address)
        return self._connect_ex(own, address)  # type: ignore[arg-type]

    def bind(self, own: socket.socket, address: object) -> None:
        self._bind(own, address)  # type: ignore[arg-type]
        if own.type == socket.SOCK_DGRAM:
            self.remember(own)

    def listen(self, own: socket.socket, *backlog: int) -> None:
        self._listen(own, *backlog)
        self.remember(own)

    def send_to(self, own: socket.socket, data: bytes, *arguments: Any) -> int:
        self.demand_ours(own, arguments[-1])
        return self._send_to(own, data, *arguments)

    def look_up(self, host: bytes | str | None, *arguments: object, **options: object) -> object:
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None:
            demand_local(socket.AF_INET, (name, 0))
        return self._look_up(host, *arguments, **options)  # type: ignore[arg-type]

    def remember(self, own: socket.socket) -> None:
        with suppress(OSError):
            place = place_of(own.family, own.getsockname())
            if place is not None:
                self.opened.add(place)

    def demand_ours(self, own: socket.socket, address: object) -> None:
        if not is_local(own.family, address):
            own.close()  # whoever opened it expects other errors than ours, and would leave it open
            demand_local(own.family, address)
        place = place_of(own.family, address)
        if place is None or place in self.opened:
            return
        if own.type == socket.SOCK_STREAM and not self.answers(own.family, address):
            return
        if place in places_of_the_family():
            self.opened.add(place)
            return
        own.close()
        raise NetworkBlocked(
            f"a lightweight test reached for {address}, where somebody listens who is none of its own: "
            "it may talk to what it opened itself. Give it a stand-in, or have it ask for the fixture that provides "
            "the service and move it to tests/integration/"
        )

    def answers(self, family: int, address: object) -> bool:
        """Whether anybody listens there; nothing is said to them."""
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(PROBE_SECONDS)
            try:
                self._connect(probe, address)  # type: ignore[arg-type]
            except TimeoutError:
                return True
            except OSError:
                return False
        return True


def place_of(family: int, address: object) -> Place | None:
    """Where an address leads to on this machine; None for what is neither a port nor a path."""
    if family in {socket.AF_INET, socket.AF_INET6}:
        return address[1] if isinstance(address, tuple) and len(address) > 1 else None
    if family == getattr(socket, "AF_UNIX", None) and address:
        return address.decode() if isinstance(address, bytes) else str(address)
    return None


def places_of_the_family() -> set[Place]:
    """What this process and its children listen on, whoever opened it."""
    import psutil

    me = psutil.Process()
    found: set[Place] = set()
    for process in (me, *me.children(recursive=True)):
        with suppress(psutil.Error):
            for connection in process.net_connections("all"):
                address: object = connection.laddr
                if connection.status in {psutil.CONN_LISTEN, psutil.CONN_NONE}:
                    found.add(address[1] if isinstance(address, tuple) and address else str(address))
    return found


@contextmanager
def loopback_only() -> Iterator[None]:
    """Refuse connections and look-ups that would leave this machine or what this process has opened on it."""
    gate = ConnectionGate()

    def method(judge: Callable[..., object]) -> Callable[..., object]:
        return lambda own, *arguments: judge(own, *arguments)  # noqa: PLW0108 - a bound method would not be told of the socket

    replaced: list[tuple[object, str, object]] = [
        (socket.socket, "connect", method(gate.connect)),
        (socket.socket, "connect_ex", method(gate.connect_ex)),
        (socket.socket, "bind", method(gate.bind)),
        (socket.socket, "listen", method(gate.listen)),
        (socket.socket, "sendto", method(gate.send_to)),
        (socket, "getaddrinfo", gate.look_up),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in replaced]
    for owner, name, guarded in replaced:
        setattr(owner, name, guarded)
    try:
        yield
    finally:
        for owner, name, real in before:
            setattr(owner, name, real)


def demand_local(family: int, address: object) -> None:
    if not is_local(family, address):
        raise NetworkBlocked(
            f"a lightweight test reached for {address}: it may talk to loopback only. "
            "Give it a stand-in, or move it to tests/integration/"
        )
