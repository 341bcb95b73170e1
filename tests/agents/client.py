"""The routes of the agents as typed calls.

async with AgentsClient.of(server, user) as ada:
    run = await ada.start_run("How many words are these?")
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from pydantic import TypeAdapter

from app.agents.routes import RunView
from commitstream.envelope import Envelope
from test_framework.backend_client import BackendClient, given
from tests.agents.rooms import stream_of

_RUNS = TypeAdapter(list[RunView])
_EVENTS = TypeAdapter(list[Envelope])


class AgentsClient(BackendClient):
    @asynccontextmanager
    async def stream(self, after: int | None = None, of: str | None = None) -> AsyncIterator[AsyncIterator[Envelope]]:
        """Watch a stream as server-sent events: that of the user's room, or the user's own."""
        if of is None and self.user is not None and "@" in self.user.id:
            of = str(stream_of(self.user.id))
        async with super().stream(after, of) as events:
            yield events

    async def start_run(self, message: str, key: str | None = None) -> RunView:
        """Start a run; with an idempotency key it is safe to send again."""
        headers = {"Idempotency-Key": key} if key else {}
        answer = await self.expect(
            202, "POST", "/api/runs", again=key is not None, json={"message": message}, headers=headers
        )
        return RunView.model_validate_json(answer.content)

    async def runs(self, limit: int | None = None, before: datetime | None = None) -> list[RunView]:
        """List the user's runs, the newest first."""
        asked = {"limit": limit, "before": before.isoformat() if before else None}
        answer = await self.expect(200, "GET", "/api/runs", params=given(asked))
        return _RUNS.validate_json(answer.content)

    async def run(self, run_id: str) -> RunView:
        """Show one of the user's runs."""
        return RunView.model_validate_json((await self.expect(200, "GET", f"/api/runs/{run_id}")).content)

    async def events(self, run_id: str, after: int = 0, limit: int | None = None) -> list[Envelope]:
        """Read a run's events from the journal: all, page by page, or no more than a limit."""
        asked = given({"after": after, "limit": limit})
        answer = await self.expect(200, "GET", f"/api/runs/{run_id}/events", params=asked)
        events = _EVENTS.validate_json(answer.content)
        while limit is None and (more := answer.links.get("next")):
            answer = await self.expect(200, "GET", more["url"])
            events += _EVENTS.validate_json(answer.content)
        return events

    async def cancel(self, run_id: str) -> RunView:
        """Have a run ended; to ask twice is to ask once."""
        answer = await self.expect(202, "POST", f"/api/runs/{run_id}/cancel", again=True)
        return RunView.model_validate_json(answer.content)

    async def page(self) -> str:
        """The page for people."""
        return (await self.expect(200, "GET", "/")).text

    async def web_file(self, name: str) -> str:
        """A file that the page is made of."""
        return (await self.expect(200, "GET", f"/web/{name}")).text
