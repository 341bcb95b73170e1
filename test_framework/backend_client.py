"""The engine's HTTP interface as typed calls; a domain adds calls of its routes in a subclass. What fails shows the request.

async with BackendClient.of(server, user) as ada:
    token = await ada.make_token("ada")

Nothing is tried twice unless `patience` says for how long; then only what is safe to repeat is, and `retried` tells of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import TypeAdapter

from commitstream.envelope import Envelope
from commitstream.lifecycle.plan import StartupReport
from commitstream.service.dev_tokens import Token
from commitstream.service.health import Readiness
from test_framework.servers import Server
from test_framework.users import TestUserContext
from test_framework.websocket.http_errors import NoAnswer, UnexpectedAnswer, told

DEADLINE_SECONDS = 10.0
RETRY_SECONDS = 0.05
LONGEST_PAUSE = 1.0
COME_BACK = frozenset({429, 503})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

__all__ = ["BackendClient", "NoAnswer", "UnexpectedAnswer"]


class BackendClient:
    """Speaks for one user, or for nobody; as a context manager it closes its connections."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        user: TestUserContext | None = None,
        deadline: float = DEADLINE_SECONDS,
        patience: float = 0.0,
    ) -> None:
        self.url = url
        self.token = token
        self.user = user
        self.patience = patience
        self.retried: list[str] = []
        # reading the certificates that only https needs takes longer than most tests
        verify = url.startswith("https:")
        self._http = httpx.AsyncClient(base_url=url, timeout=deadline, trust_env=False, verify=verify)

    @classmethod
    def of(cls, server: Server, user: TestUserContext, *, patience: float = 0.0) -> Self:
        """Speak for a user, whose session and thread every request carries."""
        return cls(server.url, user.token, user=user, patience=patience)

    def using(self, token: str | None) -> Self:
        """Speak over the same connections with another token: an expired one, a forged one, or none."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__, token=token, retried=[])
        return other

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        """Send anything once, and take whatever comes."""
        return await self._http.request(method, path, headers=self._headers(headers), **options)

    @asynccontextmanager
    async def stream(self, after: int | None = None, of: str | None = None) -> AsyncIterator[AsyncIterator[Envelope]]:
        """Watch a stream, the user's own unless named, as server-sent events until the block ends."""
        headers, params = self._headers(None), given({"after": after, "stream": of})
        async with self._http.stream("GET", "/api/events", headers=headers, params=params) as answer:
            if answer.status_code != 200:
                await answer.aread()
                raise UnexpectedAnswer(told(answer, 200))
            yield _events_of(answer)

    async def make_token(self, user: str) -> Token:
        """Ask the service for a token, as dev gives one to whoever asks."""
        answer = await self.expect(200, "POST", "/api/dev/token", again=True, json={"user": user})
        return Token.model_validate_json(answer.content)

    async def live(self) -> bool:
        """Whether the event loop turns."""
        return bool((await self.expect(200, "GET", "/health/live")).json() == {"status": "live"})

    async def ready(self) -> Readiness:
        """What /health/ready says, whether it can serve or not."""
        return Readiness.model_validate_json((await self.expect((200, 503), "GET", "/health/ready")).content)

    async def startup(self) -> StartupReport:
        """How far the start has come, whether it has ended or not."""
        answer = await self.expect((200, 503), "GET", "/health/startup")
        return TypeAdapter(StartupReport).validate_json(answer.content)

    async def metrics(self) -> dict[str, float]:
        """The numbers that Prometheus is told; those with labels under `name{label="value"}`."""
        lines = (await self.expect(200, "GET", "/metrics")).text.splitlines()
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    async def description(self) -> dict[str, Any]:
        """The interface as OpenAPI describes it."""
        described: dict[str, Any] = (await self.expect(200, "GET", "/openapi.json")).json()
        return described

    async def expect(
        self, status: int | tuple[int, ...], method: str, path: str, *, again: bool = False, **options: Any
    ) -> httpx.Response:
        """Send, and again for as long as patience lasts where that can do no harm; then it is this status or a failure."""
        expected = status if isinstance(status, tuple) else (status,)
        safe = again or method in SAFE_METHODS
        until = time.monotonic() + (self.patience if safe else 0.0)
        pause = RETRY_SECONDS
        while True:
            try:
                answer = await self.request(method, path, **options)
            except httpx.TransportError as error:
                fault: Exception = NoAnswer(method, f"{self.url}{path}", error)
            else:
                if answer.status_code in expected:
                    return answer
                fault = UnexpectedAnswer(told(answer, *expected))
                if answer.status_code not in COME_BACK:
                    raise fault
                pause = max(pause, _asked_to_wait(answer))
            if time.monotonic() + pause > until:
                raise fault from None
            self.retried.append(f"{method} {path}: {str(fault).splitlines()[0]}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _headers(self, more: Mapping[str, str] | None) -> dict[str, str]:
        signed = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return signed | (self.user.traces() if self.user else {}) | dict(more or {})


def given(asked: Mapping[str, object]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if value is not None}


def _asked_to_wait(answer: httpx.Response) -> float:
    given = answer.headers.get("Retry-After", "")
    return float(given) if given.isdecimal() else 0.0


async def _events_of(answer: httpx.Response) -> AsyncIterator[Envelope]:
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            yield Envelope.model_validate_json(line.removeprefix("data: "))
