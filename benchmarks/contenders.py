"""What is compared: this service and its peers, as one protocol that a stage can start and fill with sockets."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Mapping, Sequence
from typing import Protocol

from app.agents.events import TOPICS, AgentStarted
from app.settings import Settings
from benchmarks.crowd import MARK, Crowd
from benchmarks.peers import USER
from commitstream.bus.channels import Channels
from commitstream.envelope import Draft, frame
from commitstream.service.tokens import Tokens
from commitstream.topics import Topics, user_stream

MOST_SOCKETS = 100_000
FILLING = "the words of a message of about the usual length"


class Contender(Protocol):
    """Something that fans out: how it is started, how clients get in, and what is published for an event."""

    name: str

    def command(self, port: int) -> tuple[Sequence[str], Mapping[str, str]]:
        """What Python is to run, and in which environment."""
        ...

    def crowd(self, port: int, sockets: int, user: str) -> Crowd: ...

    def message(self, user: str, number: int) -> tuple[str, bytes]:
        """The Redis channel of an event, and what is sent there."""
        ...


def event(number: int) -> AgentStarted:
    """An event of about 300 bytes that carries the mark; each begins another run, so that any may follow on any."""
    words = (
        f"{MARK.decode()} {number}: a message of a user, who asks for what the service can look up for them: {FILLING}"
    )
    return AgentStarted(run_id=uuid.uuid4().hex, message=words)


def event_text(number: int, user: str = USER) -> str:
    """The event as it is sent."""
    stream = user_stream(user)
    return frame(number, Draft.write(Topics(TOPICS).of(stream), stream, event(number), {}).body)


class Ours:
    """This service, as `python -m app` runs it; a user whose name begins with "joined" gets joined frames."""

    name = "ours"

    def __init__(self, redis_url: str, database_url: str) -> None:
        self._settings = Settings.model_validate(
            {
                "redis_url": redis_url,
                "database_url": database_url,
                "token_secret": secrets.token_urlsafe(48),
            }
        )

    def command(self, port: int) -> tuple[Sequence[str], Mapping[str, str]]:
        return ("-m", "app", "--port", str(port)), {
            "REDIS_URL": self._settings.redis_url,
            "DATABASE_URL": self._settings.database_url,
            "APP_TOKEN_SECRET": self._settings.signing_key,
            "APP_LOG_LEVEL": "warning",
            "APP_SOCKETS_PER_USER": str(MOST_SOCKETS),
        }

    def crowd(self, port: int, sockets: int, user: str) -> Crowd:
        says = {"token": Tokens(self._settings).issue(user), "joined": user.startswith("joined"), "after": 0}
        return Crowd(port, "/ws", sockets, json.dumps(says), '"live"')

    def message(self, user: str, number: int) -> tuple[str, bytes]:
        return Channels(self._settings.channel_prefix).of_stream(str(user_stream(user))), event_text(
            number, user
        ).encode()


class Broadcaster:
    name = "broadcaster"

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url

    def command(self, port: int) -> tuple[Sequence[str], Mapping[str, str]]:
        return ("-m", "benchmarks.peers", self.name, str(port), self._redis_url), {}

    def crowd(self, port: int, sockets: int, user: str) -> Crowd:
        return Crowd(port, "/ws", sockets)

    def message(self, user: str, number: int) -> tuple[str, bytes]:
        return USER, event_text(number).encode()


class SocketIO(Broadcaster):
    name = "socketio"

    def crowd(self, port: int, sockets: int, user: str) -> Crowd:
        return Crowd(port, "/socket.io/?EIO=4&transport=websocket", sockets, "40", "40{")

    def message(self, user: str, number: int) -> tuple[str, bytes]:
        emit = {
            "method": "emit",
            "event": "event",
            "data": [json.loads(event_text(number))],
            "binary": False,
            "namespace": "/",
            "room": USER,
            "skip_sid": None,
            "callback": None,
            "host_id": "another process",
        }
        return "socketio", json.dumps(emit).encode()
