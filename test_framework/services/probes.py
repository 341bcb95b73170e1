"""Ask a server who it is, with a few bytes of its own protocol, so that asking costs a millisecond and no import.

An open port proves nothing: an answer that carries our name does. Every probe either returns that name or raises
`NotReadyError` (ask again) or `WrongServerError` (never going to be ours).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROTOCOL_3 = 196608
AUTHENTICATION_OK, CLEAR_PASSWORD, SASL, SASL_CONTINUE, SASL_FINAL = 0, 3, 10, 11, 12


class NotReadyError(Exception):
    """Nobody answers there yet."""


class WrongServerError(Exception):
    """Somebody answers, and it is not who we want."""


@dataclass(frozen=True)
class Address:
    """Where a server listens: a unix socket, or a host and a port."""

    path: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0

    def connect(self, seconds: float) -> socket.socket:
        try:
            if self.path is None:
                return socket.create_connection((self.host, self.port), timeout=seconds)
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(seconds)
            try:
                connection.connect(str(self.path))
            except OSError:
                connection.close()
                raise
        except OSError as reason:
            raise NotReadyError(f"nothing listens on {self}: {reason.strerror or reason}") from reason
        return connection

    def __str__(self) -> str:
        return str(self.path) if self.path else f"{self.host}:{self.port}"


def ask_redis(address: Address, password: str = "", seconds: float = 1.0) -> dict[str, str]:
    """Return what a Redis says about itself (`INFO server`), once it also answers as ready."""
    with address.connect(seconds) as connection, connection.makefile("rb") as answers:

        def call(*words: str) -> str:
            parts = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
            connection.sendall(f"*{len(words)}\r\n{parts}".encode())
            line = answers.readline().decode()
            if line.startswith("$"):
                return answers.read(int(line[1:]) + 2).decode()
            if line.startswith(("-NOAUTH", "-WRONGPASS", "-ERR AUTH")):
                raise WrongServerError(f"{address} does not take our password")
            if not line.startswith("+"):
                raise NotReadyError(line.strip() or f"{address} hung up")
            return line

        try:
            if password:
                call("AUTH", password)
            call("PING")
            lines = call("INFO", "server").splitlines()
        except OSError as reason:
            raise NotReadyError(f"{address} does not answer: {reason}") from reason
    return dict(line.split(":", 1) for line in lines if ":" in line)


def ask_postgres(
    address: Address, user: str, password: str, database: str, query: str = "SHOW cluster_name", seconds: float = 1.0
) -> str:
    """Log in and return the first value that a query yields."""
    with address.connect(seconds) as connection, connection.makefile("rb") as answers:
        try:
            conversation = PostgresConversation(connection, answers.read, user, password)
            conversation.log_in(database)
            return conversation.ask(query)
        except (OSError, struct.error) as reason:
            raise NotReadyError(f"{address} does not answer: {reason}") from reason


class PostgresConversation:
    """As much of Postgres's protocol as it takes to log in and ask one question."""

    def __init__(self, connection: socket.socket, read: Callable[[int], bytes], user: str, password: str) -> None:
        self.connection, self.read, self.user, self.password = connection, read, user, password

    def log_in(self, database: str) -> None:
        fields = f"user\0{self.user}\0database\0{database}\0\0".encode()
        self.connection.sendall(struct.pack("!II", len(fields) + 8, PROTOCOL_3) + fields)
        scram = Scram(self.password)
        while True:
            kind, body = self.receive()
            if kind == b"Z":
                return
            if kind != b"R":
                continue
            method = struct.unpack_from("!I", body)[0]
            if method == CLEAR_PASSWORD:
                self.send(b"p", self.password.encode() + b"\0")
            elif method == SASL:
                first = scram.first()
                self.send(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first)
            elif method == SASL_CONTINUE:
                self.send(b"p", scram.proof(body[4:].decode()))
            elif method not in {AUTHENTICATION_OK, SASL_FINAL}:
                raise WrongServerError(f"it asks for authentication method {method}, which ours never does")

    def ask(self, query: str) -> str:
        self.send(b"Q", query.encode() + b"\0")
        value = ""
        while True:
            kind, body = self.receive()
            if kind == b"D":
                length = struct.unpack_from("!i", body, 2)[0]
                value = body[6 : 6 + max(length, 0)].decode()
            if kind == b"Z":
                return value

    def send(self, kind: bytes, body: bytes) -> None:
        self.connection.sendall(kind + struct.pack("!I", len(body) + 4) + body)

    def receive(self) -> tuple[bytes, bytes]:
        head = self.read(5)
        if len(head) < 5:
            raise NotReadyError("Postgres hung up before it was ready")
        kind, body = head[:1], self.read(struct.unpack("!I", head[1:])[0] - 4)
        if kind != b"E":
            return kind, body
        fields = {field[:1]: field[1:].decode() for field in body.split(b"\0") if field}
        code, message = fields.get(b"C", ""), fields.get(b"M", "")
        if code.startswith(("28", "3D")):  # wrong password or user, unknown database
            raise WrongServerError(message)
        raise NotReadyError(message)


class Scram:
    """The client's half of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding."""

    def __init__(self, password: str, user: str = "") -> None:
        self.password, self.user = password, user
        self.nonce = secrets.token_urlsafe(18)

    def first(self) -> bytes:
        return f"n,,n={self.user},r={self.nonce}".encode()

    def proof(self, challenge: str) -> bytes:
        fields = dict(field.split("=", 1) for field in challenge.split(","))
        if not fields["r"].startswith(self.nonce):
            raise WrongServerError("it does not repeat our nonce")
        salt, rounds = base64.b64decode(fields["s"]), int(fields["i"])
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), salt, rounds)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        answer = f"c=biws,r={fields['r']}"
        signed = f"n={self.user},r={self.nonce},{challenge},{answer}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        return f"{answer},p={base64.b64encode(proof).decode()}".encode()
