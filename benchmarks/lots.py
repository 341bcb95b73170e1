"""An application of the engine alone, with a topic that every user may watch: `python -m benchmarks.lots`."""

from __future__ import annotations

import sys
from functools import partial

from fastapi import FastAPI

from commitstream import CleanupCoordinator, Engine, EngineSettings, Event, Topic, install, listen, run, users


class BidPlaced(Event):
    note: str


LOTS = Topic("lot", events=[BidPlaced], may_watch=lambda user, lot: True)
TOPICS = (LOTS, users(events=[BidPlaced]))


def create_app(settings: EngineSettings, cleanup: CleanupCoordinator) -> FastAPI:
    app = FastAPI()
    install(app, Engine(settings, topics=TOPICS), cleanup=cleanup)
    return app


def main() -> int:
    settings = EngineSettings()
    return run(partial(create_app, settings), listen(settings), lambda: None)


if __name__ == "__main__":
    sys.exit(main())
