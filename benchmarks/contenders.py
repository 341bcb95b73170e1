"""What is compared: this service and its peers, as one protocol that a stage can start and fill with sockets."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Mapping, Sequence
from typing import Protocol

from app.settings import Settings
from benchmarks import lots
from benchmarks.crowd import MARK, Crowd
from benchmarks.events import TOPICS, Started
from benchmarks.peers import USER
from commitstream.bus.channels import Channels
from commitstream.envelope import Draft, frame
from commitstream.events import Event
from commitstream.service.tokens import Tokens
from commitstream.settings import EngineSettings
from commitstream.topics import Stream, Topics, user_stream

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


def event(number: int) -> Started:
    """An event of about 300 bytes that carries the mark; each begins another run, so that any may follow on any."""
    return Started(run_id=uuid.uuid4().hex, message=_words(number))


def event_text(number: int, user: str = USER) -> str:
    """The event as it is sent."""
    return _text(Topics(TOPICS), user_stream(user), number, event(number))


def _words(number: int) -> str:
    return (
        f"{MARK.decode()} {number}: a message of a user, who asks for what the service can look up for them: {FILLING}"
    )


def _text(topics: Topics, stream: Stream, seq: int, written: Event) -> str:
    return frame(seq, Draft.write(topics.of(stream), stream, written, {}).body)


class Ours:
    """This service, as `python -m app` runs it; a user whose name begins with "joined" gets joined frames."""

    name = "ours"
    module = "app"
    settings_type: type[EngineSettings] = Settings

    def __init__(self, redis_url: str, database_url: str) -> None:
        self._given = {
            "redis_url": redis_url,
            "database_url": database_url,
            "token_secret": secrets.token_urlsafe(48),
            "log_level": "warning",
            "sockets_per_user": str(MOST_SOCKETS),
        }
        self._settings = self.settings_type.model_validate(self._given)
        self._channels = Channels(self._settings.channel_prefix)

    def command(self, port: int) -> tuple[Sequence[str], Mapping[str, str]]:
        given = {**self._given, "port": str(port)}
        return ("-m", self.module), {self.settings_type.variable(name): value for name, value in given.items()}

    def crowd(self, port: int, sockets: int, user: str) -> Crowd:
        return Crowd(port, "/ws", sockets, [self._hello(user, joined=user.startswith("joined"), after=0)], '"live"')

    def message(self, user: str, number: int) -> tuple[str, bytes]:
        return self._channels.of_stream(str(user_stream(user))), event_text(number, user).encode()

    def _hello(self, user: str, **wanted: object) -> str:
        return json.dumps({"token": Tokens(self._settings).issue(user), **wanted})


class Lots(Ours):
    """The engine on an application of its topics alone; a lot is watched by as many users as there are sockets."""

    name = "lots"
    module = "benchmarks.lots"
    settings_type = EngineSettings
    topics = Topics(lots.TOPICS)

    def crowd(self, port: int, sockets: int, user: str) -> Crowd:
        if not user.startswith("lot"):
            return super().crowd(port, sockets, user)
        says = [self._hello(f"user-{n}", watch={str(self._stream(user)): 0}) for n in range(sockets)]
        return Crowd(port, "/ws", sockets, says, '"live"')

    def message(self, user: str, number: int) -> tuple[str, bytes]:
        return self._published(self._stream(user), number)

    def _stream(self, name: str) -> Stream:
        return lots.LOTS.stream(name) if name.startswith("lot") else user_stream(name)

    def _published(self, stream: Stream, seq: int) -> tuple[str, bytes]:
        text = _text(self.topics, stream, seq, lots.BidPlaced(note=_words(seq)))
        return self._channels.of_stream(str(stream)), text.encode()


class ManyLots(Lots):
    """Clients that watch the same lots, each all of them: by one socket, or by one for each lot."""

    def __init__(self, redis_url: str, database_url: str, streams: int, *, one_socket: bool) -> None:
        super().__init__(redis_url, database_url)
        self.name = f"{streams} lots by {'one socket' if one_socket else 'a socket each'}"
        self._streams = [lots.LOTS.stream(str(number)) for number in range(streams)]
        self._one_socket = one_socket

    def crowd(self, port: int, sockets: int, user: str) -> Crowd:
        """Bring in so many clients."""
        each = [{str(stream): 0} for stream in self._streams]
        together = {str(stream): 0 for stream in self._streams}
        watches = [together] if self._one_socket else each
        says = [self._hello(user, watch=watch) for watch in watches]
        return Crowd(port, "/ws", sockets * len(watches), says, '"live"', len(self._streams) // len(watches), sockets)

    def message(self, user: str, number: int) -> tuple[str, bytes]:
        place, stream = divmod(number - 1, len(self._streams))
        return self._published(self._streams[stream], place + 1)


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
