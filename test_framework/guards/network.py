"""Nothing leaves this machine while the guard is up: a connection to anywhere but loopback is refused, and named."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager


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


@contextmanager
def loopback_only() -> Iterator[None]:
    """Refuse connections and look-ups that would leave this machine."""
    connect, connect_ex, look_up = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: object) -> None:
        _demand_local(self.family, address)
        connect(self, address)  # type: ignore[arg-type]

    def guarded_connect_ex(self: socket.socket, address: object) -> int:
        _demand_local(self.family, address)
        return connect_ex(self, address)  # type: ignore[arg-type]

    def guarded_look_up(host: bytes | str | None, *arguments: object, **options: object) -> object:
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None:
            _demand_local(socket.AF_INET, (name, 0))
        return look_up(host, *arguments, **options)  # type: ignore[arg-type]

    socket.socket.connect = guarded_connect  # type: ignore[method-assign, assignment]
    socket.socket.connect_ex = guarded_connect_ex  # type: ignore[method-assign, assignment]
    socket.getaddrinfo = guarded_look_up  # type: ignore[assignment]
    try:
        yield
    finally:
        socket.socket.connect = connect  # type: ignore[method-assign]
        socket.socket.connect_ex = connect_ex  # type: ignore[method-assign]
        socket.getaddrinfo = look_up


def _demand_local(family: int, address: object) -> None:
    if not is_local(family, address):
        raise NetworkBlocked(
            f"a lightweight test reached for {address}: it may talk to loopback only. "
            "Give it a stand-in, or move it to tests/integration/"
        )
