"""The parts of a running service, wired once; nothing is opened before `StartupManager` says so."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Sequence

from app.agents.dispatcher import ToolDispatcher
from app.agents.models import Model
from app.agents.runner import Runner
from app.agents.runs import Runs
from app.agents.scripted import ScriptedModel
from app.agents.tool_context import Tool
from app.agents.tools import TOOLS
from app.db import migrate
from app.db.database import Database
from app.events.bus import Bus, MemoryBus
from app.events.hub import Hub
from app.events.journal import Journal
from app.events.outbox import Outbox, Relay
from app.events.tally import Tally
from app.settings import Settings

FLUSH_SECONDS = 1.0


class Service:
    def __init__(self, settings: Settings, tools: Sequence[Tool] = TOOLS) -> None:
        self.settings = settings
        self.process = f"{socket.gethostname()[:30]}-{os.getpid()}-{secrets.token_hex(3)}"
        self.tally = Tally()
        self.database = Database(settings.database_url, settings.database_pool)
        self.outbox = Outbox(self.tally)
        self.journal = Journal(self.database, self.outbox)
        self.bus = choose_bus(settings, self.process)
        self.hub = Hub(self.journal, self.bus, self.tally)
        self.runs = Runs(self.database, self.journal, owner=self.process)
        self.model = choose_model(settings, tools)
        self.runner = Runner(self.runs, self.model, ToolDispatcher(tools))
        self.draining = False
        self.requests: dict[tuple[str, str, int], tuple[int, float]] = {}
        self._relay: Relay | None = None

    async def prepare_schema(self) -> None:
        """Migrate the database where the settings say so, and require that this code can work on it."""
        migrates = self.settings.migrate or self.settings.embedded_database
        if migrates and (await migrate.standing(self.database.engine)).behind:
            await migrate.upgrade(self.database.engine)
        await migrate.demand_newest(self.database.engine)

    async def open_bus(self) -> None:
        await self.bus.start(self.hub.receive)

    async def open_relay(self) -> None:
        self._relay = Relay(self.bus, self.journal.after_each, self.tally)
        self.outbox.feed(self._relay)

    async def close_relay(self) -> None:
        self.outbox.feed(None)
        if self._relay is not None:
            await self._relay.close()

    async def drain(self) -> None:
        """Let go in good order: no new runs, end those at work, publish the last events, send the watchers elsewhere."""
        self.draining = True
        await self.runner.drain(self.settings.drain_deadline)
        if self._relay is not None:
            await self._relay.idle(FLUSH_SECONDS)
        await self.hub.dismiss(FLUSH_SECONDS)


def choose_bus(settings: Settings, process: str) -> Bus:
    """The bus that the settings name; Redis's client is imported only where there is a Redis."""
    if settings.embedded_bus:
        return MemoryBus()
    from app.events.redis_bus import RedisBus

    return RedisBus(settings.redis_url, settings.channel_prefix, process)


def choose_model(settings: Settings, tools: Sequence[Tool]) -> Model:
    """The model that the settings name; what drives a real one is imported only where there is one."""
    if settings.model == "scripted":
        return ScriptedModel()
    from app.agents.openai_model import Endpoint, OpenAIModel

    key = settings.model_key.get_secret_value()
    return OpenAIModel(Endpoint(settings.model_url, key, settings.model_name, settings.model_seconds), tools)
