"""In lightweight a test reaches what it opened itself, and nothing else."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from test_framework.guards.network import NetworkBlocked

LISTENER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""
ADOPTED = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=sys.stdin, start_new_session=True)
"""


@pytest.fixture
def childs_port() -> Iterator[int]:
    """The port of a server that this process has started."""
    command = [sys.executable, "-c", LISTENER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        yield int(child.stdout.readline())
        child.stdin.close()


@pytest.fixture
def strangers_port() -> Iterator[int]:
    """The port of a server that is nobody's child of ours: its parent has ended."""
    command = [sys.executable, "-c", ADOPTED, LISTENER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        os.waitid(os.P_PID, parent.pid, os.WEXITED | os.WNOWAIT)
        yield port
        parent.stdin.close()


def test_another_machine_is_refused() -> None:
    with socket.socket() as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        for reach in (
            lambda: stream.connect(("192.0.2.1", 80)),
            lambda: stream.connect_ex(("192.0.2.1", 80)),
            lambda: datagrams.sendto(b"", ("192.0.2.1", 8125)),
            lambda: socket.getaddrinfo("example.org", 80),
        ):
            with pytest.raises(NetworkBlocked, match="loopback only"):
                reach()


async def test_what_the_test_opened_is_reached_by_any_kind_of_client() -> None:
    def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("localhost", port)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


def test_what_a_child_opened_is_reached(childs_port: int) -> None:
    with socket.create_connection(("127.0.0.1", childs_port)) as connection:
        assert connection.getpeername()[1] == childs_port


@pytest.mark.needs("posix")
def test_a_server_that_happens_to_run_here_is_refused_and_named(strangers_port: int) -> None:
    with pytest.raises(NetworkBlocked, match=rf"{strangers_port}.*none of its own.*tests/integration/"):
        socket.create_connection(("127.0.0.1", strangers_port))


def test_where_nobody_listens_the_system_refuses() -> None:
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(placeholder.getsockname())


@pytest.mark.needs("posix")
def test_a_unix_socket_of_its_own_is_reached(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(path)
        listener.listen()
        client.connect(path)

        assert client.getpeername() == path


def test_datagrams_between_own_sockets_pass() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        sender.sendto(b"here", receiver.getsockname())

        assert receiver.recv(4) == b"here"
