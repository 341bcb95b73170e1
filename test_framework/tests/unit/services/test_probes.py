"""A probe tells our server from a stranger, and a server that is not ready from one that never will be."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from test_framework.services.probes import Address, NotReadyError, Scram, WrongServerError, ask_postgres, ask_redis

Answer = Callable[[socket.socket], None]
Serve = Callable[[Answer], Address]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    threads: list[threading.Thread] = []
    listeners: list[socket.socket] = []

    def start(answer: Answer) -> Address:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        listeners.append(listener)

        def accept() -> None:
            connection, _ = listener.accept()
            with connection:
                answer(connection)

        threads.append(threading.Thread(target=accept, daemon=True))
        threads[-1].start()
        return Address(tmp_path / "s")

    yield start
    for thread, listener in zip(threads, listeners, strict=True):
        thread.join(5)
        listener.close()


def says(*answers: bytes) -> Answer:
    def answer(connection: socket.socket) -> None:
        for one in answers:
            connection.recv(4096)
            connection.sendall(one)

    return answer


def postgres_error(code: str, message: str) -> bytes:
    body = f"SFATAL\0C{code}\0M{message}\0\0".encode()
    return b"E" + struct.pack("!I", len(body) + 4) + body


def test_nobody_listening_is_not_ready_yet(tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match="nothing listens on"):
        ask_redis(Address(tmp_path / "absent"))


def test_a_redis_says_who_it_is(serve: Serve) -> None:
    about = b"redis_version:8.0.2\r\nprocess_id:17\r\n"
    address = serve(says(b"+PONG\r\n", b"$%d\r\n%s\r\n" % (len(about), about)))

    assert ask_redis(address)["process_id"] == "17"


def test_a_redis_that_still_loads_is_not_ready_yet(serve: Serve) -> None:
    with pytest.raises(NotReadyError, match="LOADING"):
        ask_redis(serve(says(b"-LOADING Redis is loading the dataset in memory\r\n")))


def test_a_redis_that_refuses_our_password_is_not_ours(serve: Serve) -> None:
    with pytest.raises(WrongServerError, match="does not take our password"):
        ask_redis(serve(says(b"-WRONGPASS invalid username-password pair\r\n")), "mine")


def test_something_else_on_the_port_is_not_ready(serve: Serve) -> None:
    with pytest.raises(NotReadyError):
        ask_redis(serve(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")))


def test_a_postgres_that_starts_is_not_ready_yet(serve: Serve) -> None:
    with pytest.raises(NotReadyError, match="is starting up"):
        ask_postgres(serve(says(postgres_error("57P03", "the database system is starting up"))), "u", "p", "d")


@pytest.mark.parametrize("code", ["28P01", "28000", "3D000"])
def test_a_postgres_that_refuses_us_is_not_ours(serve: Serve, code: str) -> None:
    with pytest.raises(WrongServerError, match="refused"):
        ask_postgres(serve(says(postgres_error(code, "refused"))), "u", "p", "d")


def test_a_server_that_hangs_up_is_not_ready(serve: Serve) -> None:
    with pytest.raises(NotReadyError, match="hung up"):
        ask_postgres(serve(says(b"")), "u", "p", "d")


def test_a_proof_is_what_the_standard_says() -> None:
    scram = Scram("pencil", "user")
    scram.nonce = "rOprNGfwEbeRWgbNEkqO"  # the example of RFC 7677
    challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"

    proof = scram.proof(challenge).decode()

    assert proof.endswith(",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")


def test_a_server_that_does_not_repeat_our_nonce_is_refused() -> None:
    with pytest.raises(WrongServerError, match="nonce"):
        Scram("pencil").proof("r=another,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
