"""A model behind an OpenAI-compatible endpoint.

pydantic-ai is the client, and is imported with this module only. Every request has a timeout, is retried where that may
help, and is recorded. Tools are called through the turn, so that watchers get every call. The model gets the errors of
its tools; the user gets those of the model.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache

import httpx2
import pydantic_ai
from openai import AsyncOpenAI
from pydantic import JsonValue
from pydantic_ai import Agent, UsageLimits
from pydantic_ai.exceptions import AgentRunError, ToolFailed, UsageLimitExceeded
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ThinkingPart, ToolCallPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext
from pydantic_ai.toolsets import FunctionToolset, ToolsetTool, WrapperToolset
from pydantic_core import SchemaValidator, core_schema

from app.agents import transcript
from app.agents.dispatcher import ToolError
from app.agents.endpoint_errors import EndpointError, explain
from app.agents.model import ModelError, Turn, recorded
from app.agents.tool_context import Tool, as_models_see_it

pydantic_ai.BANNER_ENABLED = False  # it would print to the terminal

STEPS = 20
TOOL_CALLS = 100
ATTEMPTS = 4
LONGEST_BACKOFF = 20.0
CONNECT_SECONDS = 5.0
IDLE_CONNECTIONS = 20
ANY_OBJECT = SchemaValidator(core_schema.dict_schema(core_schema.str_schema()))  # the dispatcher validates arguments


@dataclass(frozen=True)
class Endpoint:
    """Where a model is served, the key for it, the timeout of a request, and the backoff before a retry."""

    url: str = field(repr=False)
    key: str = field(repr=False)
    model: str
    timeout: float = 60.0
    backoff: float = 0.5


class OpenAIModel:
    def __init__(self, endpoint: Endpoint, tools: Sequence[Tool]) -> None:
        self.name = endpoint.model
        self._endpoint = endpoint
        self._known = {tool.__name__ for tool in tools}
        self._http = _client()
        self._chat = self._connect(self._http)  # pydantic-ai loads its model profiles now, not during a run
        shown = [as_models_see_it(tool) for tool in tools]
        self._agent = Agent(
            deps_type=Turn,
            toolsets=[_Dispatched(FunctionToolset[Turn](shown, sequential=True))],
            retries={"tools": STEPS, "output": 2},
        )

    async def answer(self, message: str, turn: Turn) -> str:
        model = _Recorded(self._chat, self._endpoint, turn)
        limits = UsageLimits(request_limit=STEPS, tool_calls_limit=TOOL_CALLS)
        try:
            async with self._agent.iter(message, model=model, deps=turn, usage_limits=limits) as run:
                async for node in run:
                    if Agent.is_call_tools_node(node):
                        await self._show(node.model_response, turn)
        except UsageLimitExceeded:
            raise ModelError(f"{self.name} was not done after {STEPS} steps or {TOOL_CALLS} tool calls") from None
        except AgentRunError as error:
            raise explain(error, self.name) from None
        if run.result is None:
            raise ModelError(f"{self.name} gave no answer")
        return run.result.output

    async def close(self) -> None:
        """Close the connections to the endpoint."""
        await self._http.aclose()

    def _connect(self, http: httpx2.AsyncClient) -> OpenAIChatModel:
        key = self._endpoint.key or "none"
        client = AsyncOpenAI(base_url=self._endpoint.url, api_key=key, http_client=http, max_retries=0)
        client.organization = client.project = None  # those in the environment belong to another endpoint
        return OpenAIChatModel(self.name, provider=OpenAICompatibleProvider("endpoint", openai_client=client))

    async def _show(self, response: ModelResponse, turn: Turn) -> None:
        """Announce what the model said before it acts, and its calls of unknown tools."""
        spoken = (TextPart, ThinkingPart) if response.tool_calls else ThinkingPart
        for part in response.parts:
            if isinstance(part, spoken) and part.content.strip():
                await turn.think(part.content.strip())
        for call in response.tool_calls:
            if call.tool_name not in self._known:
                with suppress(ToolError):
                    await turn.call(call.tool_name, _arguments(call))


class _Recorded(WrapperModel):
    """A model whose requests have a timeout, are retried where that may help, and are recorded."""

    def __init__(self, model: OpenAIChatModel, endpoint: Endpoint, turn: Turn) -> None:
        super().__init__(model)
        self._endpoint = endpoint
        self._turn = turn

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        for attempt in range(1, ATTEMPTS):
            try:
                return await self._ask(messages, model_settings, model_request_parameters)
            except EndpointError as error:
                backoff = max(error.wait, self._endpoint.backoff * 2 ** (attempt - 1) * random.uniform(0.5, 1))  # noqa: S311
                if not error.transient or backoff > LONGEST_BACKOFF:
                    raise
                await asyncio.sleep(backoff)
        return await self._ask(messages, model_settings, model_request_parameters)

    async def _ask(
        self, messages: list[ModelMessage], settings: ModelSettings | None, parameters: ModelRequestParameters
    ) -> ModelResponse:
        name, timeout = self._endpoint.model, self._endpoint.timeout
        async with recorded(self._turn, name, transcript.prompt(messages)) as call:
            try:
                async with asyncio.timeout(timeout):
                    response = transcript.clean(await self.wrapped.request(messages, settings, parameters))
            except TimeoutError:
                raise EndpointError(f"{name} gave no answer within {timeout:g} s") from None
            except Exception as error:  # noqa: BLE001 - an endpoint may answer anything
                raise explain(error, name) from None
            call.answer = transcript.answer(response)
            call.input_tokens = response.usage.input_tokens
            call.output_tokens = response.usage.output_tokens
        return response


@dataclass
class _Dispatched(WrapperToolset[Turn]):
    """Tools whose schemas the model gets, and that are called through the turn."""

    async def get_tools(self, ctx: RunContext[Turn]) -> dict[str, ToolsetTool[Turn]]:
        tools = await super().get_tools(ctx)
        return {name: replace(tool, args_validator=ANY_OBJECT) for name, tool in tools.items()}

    async def call_tool(
        self, name: str, tool_args: dict[str, JsonValue], ctx: RunContext[Turn], tool: ToolsetTool[Turn]
    ) -> JsonValue:
        try:
            return await ctx.deps.call(name, tool_args)
        except ToolError as error:
            raise ToolFailed(str(error)) from None


@cache
def _certificates() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


def _client() -> httpx2.AsyncClient:
    """Return a client without proxies of the environment; `_ask` has the timeout of answers."""
    timeout = httpx2.Timeout(None, connect=CONNECT_SECONDS)
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=IDLE_CONNECTIONS)
    return httpx2.AsyncClient(trust_env=False, verify=_certificates(), timeout=timeout, limits=limits)


def _arguments(call: ToolCallPart) -> dict[str, JsonValue]:
    try:
        return call.args_as_dict()
    except ValueError:
        return {}
