"""Many WebSocket clients in one process, light enough not to be what is measured.

A selector, a handshake by hand, and no framing: every event carries a mark, and what arrives is searched for it. The
conductor sends a line and gets a line: `count 500` is answered with the time at which 500 more marks had arrived, `times`
with the moment of each since the last question. Clocks are monotonic, and so the same for all processes of a machine.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import selectors
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Self

MARK = b"<*>"
PATIENCE_SECONDS = 30.0
CONNECTED_AT_ONCE = 50
HEAD_START_SECONDS = 0.3
# uvicorn's ping and engine.io's, as they never look inside an event
_PINGS: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\x89\x04", lambda payload: b"\x8a\x84\0\0\0\0" + payload),
    (b"\x81\x012", lambda _: b"\x81\x81\0\0\0\x003"),
)


@dataclass(frozen=True)
class Crowd:
    """Where a crowd connects to, what its clients say then, in turns, and how often each hears what when it is in.

    `reach` is the number of sockets that get an event; without one, all do.
    """

    port: int
    path: str
    sockets: int
    says: Sequence[str] = ()
    hears: str = "\r\n\r\n"
    times: int = 1
    reach: int | None = None

    def packed(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def unpack(cls, text: str) -> Self:
        return cls(**json.loads(text))


class Client:
    __slots__ = ("heard", "socket", "tail")

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.heard = b""
        self.tail = b""


class Clients:
    """All clients of a crowd, and how many events they were sent."""

    def __init__(self, crowd: Crowd, conductor: int) -> None:
        self._crowd = crowd
        self._says = itertools.cycle(crowd.says)
        self._selector = selectors.DefaultSelector()
        self._selector.register(conductor, selectors.EVENT_READ)
        self._buffer = bytearray(256 * 1024)
        self._moments: list[float] = []
        self._seen = 0
        self._latest = 0.0

    def connect(self) -> None:
        """Bring everybody in; the first goes well ahead, because broadcaster loses some of those who come first together."""
        for begin in range(0, self._crowd.sockets, CONNECTED_AT_ONCE):
            if begin == 0:
                self._connect(1)
                time.sleep(HEAD_START_SECONDS)
            self._connect(min(CONNECTED_AT_ONCE, self._crowd.sockets - begin) - (begin == 0))

    def count(self, expected: int) -> float | None:
        """Wait until so many more events have come; the moment of the last, or None when they stay away."""
        deadline = time.perf_counter() + PATIENCE_SECONDS
        while self._seen < expected:
            self._read()
            if time.perf_counter() > deadline:
                return None
        self._seen -= expected
        return self._latest

    def moments(self) -> list[float]:
        """When each event came, since this was last asked."""
        moments, self._moments = self._moments, []
        return moments

    def _connect(self, number: int) -> None:
        waiting = list[Client]()
        for _ in range(number):
            connection = socket.create_connection(("127.0.0.1", self._crowd.port))
            connection.sendall(_handshake(self._crowd))
            waiting.append(Client(connection))
        hears = self._crowd.hears.encode()
        for client in waiting:
            while b"\r\n\r\n" not in client.heard:
                client.heard += _some(client)
            if b" 101 " not in client.heard:
                raise ConnectionError(client.heard[:200].decode())
            if self._crowd.says:
                client.socket.sendall(_text_frame(next(self._says).encode()))
        for client in waiting:
            while client.heard.count(hears) < self._crowd.times:
                client.heard += _some(client)
            client.heard = b""
            client.socket.setblocking(False)
            self._selector.register(client.socket, selectors.EVENT_READ, client)

    def idle(self) -> None:
        """Read, and answer pings, until the conductor speaks."""
        while not self._read():
            pass

    def _read(self) -> bool:
        """Take what has come, or wait a moment for it; True when the conductor has spoken."""
        spoken = False
        for key, _ in self._selector.select(0.05):
            if key.data is None:
                spoken = True
            else:
                self._take(key.data)
        return spoken

    def _take(self, client: Client) -> None:
        buffer = self._buffer
        size = client.socket.recv_into(buffer)
        if not size:
            raise ConnectionError("the server hung up")
        found = buffer.count(MARK, 0, size)
        if client.tail:
            found += (client.tail + buffer[:2]).count(MARK)
            client.tail = b""
        if buffer[size - 1] in b"<*":
            client.tail = bytes(buffer[max(size - 2, 0) : size])
        for asked, answer in _PINGS:
            if (at := buffer.find(asked, 0, size)) >= 0:
                client.socket.send(answer(bytes(buffer[at + 2 : at + 6])))
        if found:
            self._seen += found
            self._latest = time.perf_counter()
            self._moments.extend([self._latest] * found)


def _some(client: Client) -> bytes:
    data = client.socket.recv(65536)
    if not data:
        raise ConnectionError(f"the server hung up during the handshake, having said {client.heard!r}")
    return data


def _handshake(crowd: Crowd) -> bytes:
    lines = (
        f"GET {crowd.path} HTTP/1.1",
        f"Host: 127.0.0.1:{crowd.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    )
    return "\r\n".join((*lines, "", "")).encode()


def _text_frame(payload: bytes) -> bytes:
    """A client's text message; the mask is there, and it is zero."""
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
    return head + bytes(4) + payload


def main() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    clients = Clients(Crowd.unpack(sys.stdin.readline()), sys.stdin.fileno())
    clients.connect()
    print("ready", flush=True)
    while True:
        clients.idle()
        match os.read(sys.stdin.fileno(), 1000).split():
            case [b"count", number]:
                print(json.dumps(clients.count(int(number))), flush=True)
            case [b"times"]:
                print(json.dumps(clients.moments()), flush=True)
            case _:
                return


if __name__ == "__main__":
    main()
