"""The domain of agents: runs, a model, routes and a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fastapi import FastAPI
from starlette.routing import Mount

from app.agents import page, routes
from app.agents.dispatcher import ToolDispatcher
from app.agents.events import TOPICS
from app.agents.model import Model
from app.agents.runner import Runner
from app.agents.runs import Runs
from app.agents.scripted import ScriptedModel
from app.agents.tool_context import Tool
from app.agents.tools import TOOLS
from app.settings import Settings
from commitstream.domain import Domain, Gauge
from commitstream.engine import Engine
from commitstream.lifecycle.plan import Phase
from commitstream.lifecycle.startup import StartupManager
from commitstream.topics import Stream, Topic, user_stream


class Agents(Domain):
    topics: Sequence[Topic] = TOPICS
    routers = (routes.router, page.router)
    routes = (Mount("/web", page.static, name="web"),)

    def __init__(
        self, engine: Engine, model: Model, tools: Sequence[Tool], stream_of: Callable[[str], Stream] = user_stream
    ) -> None:
        self.runs = Runs(engine.database, engine.journal, engine.process, stream_of)
        self.model = model
        self.runner = Runner(self.runs, model, ToolDispatcher(tools))

    def install(self, app: FastAPI) -> None:
        app.state.runs = self.runs
        app.state.runner = self.runner

    def plan(self, startup: StartupManager) -> None:
        startup.add("model", phase=Phase.DOMAINS, start=_nothing, stop=self.model.close)
        startup.add("runner", phase=Phase.DOMAINS, start=self.runner.open, stop=self.runner.close, after=("model",))

    async def drain(self, timeout: float) -> None:
        await self.runner.drain(timeout)

    def gauges(self) -> Mapping[str, Gauge]:
        return {
            "runs_at_work": Gauge("runs this process works on", self.runner.busy),
            "runs_silent": Gauge("runs without an event for too long", self.runner.silent),
        }


def create(engine: Engine, settings: Settings, tools: Sequence[Tool] = TOOLS) -> Agents:
    """Make the agents of this service; `tools` are what they may call."""
    return Agents(engine, choose_model(settings, tools), tools)


def choose_model(settings: Settings, tools: Sequence[Tool]) -> Model:
    """Return the model that the settings name; the client of a real one is imported only where it is used."""
    if settings.model == "scripted":
        return ScriptedModel()
    from app.agents.openai_model import Endpoint, OpenAIModel

    key = settings.model_key.get_secret_value()
    return OpenAIModel(Endpoint(settings.model_url, key, settings.model_name, settings.model_timeout_seconds), tools)


async def _nothing() -> None:
    """Start a component that only needs a stop."""
