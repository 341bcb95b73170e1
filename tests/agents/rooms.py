"""The service with rooms: the runs of `ada@kitchen` are written to the stream of a room, which all of its members watch.

The promises of the engine hold on users' own streams and on shared ones. This application has both, so that one test can
be run on either. `python -m tests.agents.rooms` serves it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial

from fastapi import FastAPI

from app.agents.domain import Agents, choose_model
from app.agents.events import RUN_EVENTS, RUN_ORDER, TOPICS
from app.agents.tools import TOOLS
from app.main import create_app
from app.settings import Settings, load_settings
from commitstream.engine import Engine
from commitstream.lifecycle.cleanup import CleanupCoordinator
from commitstream.service import logs
from commitstream.service.server import listen, run
from commitstream.settings import EngineSettings
from commitstream.topics import Stream, Topic, user_stream
from commitstream.user import User

MODULE = "tests.agents.rooms"


def stream_of(user_id: str) -> Stream:
    """Return the stream of a user's runs: the room's, for a member of one, or the user's own."""
    _, at, room = user_id.rpartition("@")
    return ROOMS.stream(room) if at else user_stream(user_id)


def may_watch(user: User, room: str) -> bool:
    return stream_of(user.id) == ROOMS.stream(room)


ROOMS = Topic("room", events=RUN_EVENTS, order=RUN_ORDER, may_watch=may_watch)


class AgentsInRooms(Agents):
    topics = (*TOPICS, ROOMS)


def create(engine: Engine, settings: Settings) -> AgentsInRooms:
    return AgentsInRooms(engine, choose_model(settings, TOOLS), TOOLS, stream_of)


def app_with_rooms(settings: Settings, cleanup: CleanupCoordinator | None = None) -> FastAPI:
    return create_app(settings, cleanup, domains=[create])


@dataclass
class RoomsServer:
    """A running service with rooms: each user who connects becomes a member of one."""

    settings: EngineSettings
    url: str


def main() -> int:
    settings = load_settings()
    logs.set_up(settings.log_level, settings.log_format)
    listener = listen(settings)
    host, port = listener.getsockname()[:2]
    return run(partial(app_with_rooms, settings), listener, lambda: print(f"http://{host}:{port}", flush=True))


if __name__ == "__main__":
    sys.exit(main())
