"""The small proxy in front of the replicas passes on what each side says, and the end of it."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from test_framework import CHECKOUT
from test_framework.ports import lease
from test_framework.waiting import comes_true

REQUEST, ANSWER = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SECONDS = 10


@pytest.fixture
def replica() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(SECONDS)
        yield listener


@pytest.fixture
def proxy(replica: socket.socket) -> Iterator[tuple[str, int]]:
    """Where the proxy listens: beside its replica, since both are on one address here."""
    environment = {"BACKEND": "127.0.0.1", "PORT": str(replica.getsockname()[1])}
    with lease("proxy") as leased:
        program = (
            (CHECKOUT / "compose/balancer.py").read_text().replace('"0.0.0.0", PORT', f'"127.0.0.1", {leased.port}')
        )
        with subprocess.Popen([sys.executable, "-c", program], env=environment) as process:
            comes_true(lambda: listens(leased.port), "the proxy", SECONDS)
            yield "127.0.0.1", leased.port
            process.terminate()


def listens(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1024), b""))


def test_a_client_that_half_closes_gets_its_answer(replica: socket.socket, proxy: tuple[str, int]) -> None:
    def answer() -> None:
        while not asked:
            with replica.accept()[0] as connection:
                connection.settimeout(SECONDS)
                asked.append(read_all(connection))  # ends when the client's half is closed
                connection.sendall(ANSWER if asked[-1] else b"")
                if not asked[-1]:
                    asked.pop()  # the fixture's own trial

    asked: list[bytes] = []
    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with socket.create_connection(proxy, SECONDS) as client:
            client.sendall(REQUEST)
            client.shutdown(socket.SHUT_WR)

            assert read_all(client) == ANSWER
    finally:
        thread.join(SECONDS)
    assert asked == [REQUEST]


def test_a_replica_that_closes_ends_the_client_s_connection(replica: socket.socket, proxy: tuple[str, int]) -> None:
    trial = replica.accept()[0]
    with trial, socket.create_connection(proxy, SECONDS) as client:
        with replica.accept()[0] as connection:
            connection.sendall(ANSWER)

        assert read_all(client) == ANSWER
