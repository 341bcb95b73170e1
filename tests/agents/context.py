"""A user of the agents at one real server, with a real socket.

async with AgentsContext(server) as ada:
    run = await ada.run_agent("How many words are these?")
    ada.capture.assert_grammatical(run.id)
"""

from __future__ import annotations

from app.agents.routes import RunView
from test_framework.servers import Server
from test_framework.test_context import DEADLINE_SECONDS, TestContext
from test_framework.users import TestUserContext
from tests.agents.client import AgentsClient


class AgentsContext(TestContext):
    client: AgentsClient

    def client_of(self, server: Server, user: TestUserContext) -> AgentsClient:
        return AgentsClient.of(server, user)

    async def start_run(self, message: str, key: str | None = None) -> RunView:
        """Start a run."""
        return await self.client.start_run(message, key)

    async def run_agent(self, message: str, deadline: float = DEADLINE_SECONDS) -> RunView:
        """Start a run and capture events until it has ended."""
        run = await self.start_run(message)
        await self.wait_for_end(run.id, deadline)
        return run
