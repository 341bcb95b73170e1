"""A user of the agents at one real server, with a real socket.

async with AgentsContext(server) as ada:
    run = await ada.run_agent("How many words are these?")
    ada.capture.assert_grammatical(run.id)

At a server with rooms the user works in a room, whose stream two other members watch from its beginning.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from app.agents.routes import RunView
from commitstream.topics import Topics
from test_framework.servers import Server
from test_framework.test_context import DEADLINE_SECONDS, TestContext
from test_framework.users import TestUserContext
from tests.agents.client import AgentsClient
from tests.agents.rooms import AgentsInRooms, RoomsServer, stream_of


class AgentsContext(TestContext):
    client: AgentsClient
    topics = Topics(AgentsInRooms.topics)

    def __init__(
        self,
        server: Server,
        user: TestUserContext | None = None,
        *,
        after: int | None = 0,
        joined: bool = False,
        watch: Sequence[str] | Mapping[str, int | None] = (),
    ) -> None:
        user = user or TestUserContext.of(server.settings)
        shared = isinstance(server, RoomsServer)
        if shared and "@" not in user.id:
            user = replace(user, id=f"{user.id}@{user.id}")
        super().__init__(server, user, after=after, joined=joined, watch=watch or [str(stream_of(user.id))])
        self.members = [self._member(joined) for joined in (False, True)] if shared else []

    def client_of(self, server: Server, user: TestUserContext) -> AgentsClient:
        return AgentsClient.of(server, user)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self._assert_shown_to_members()
        finally:
            await super().__aexit__(kind, error, trace)

    async def connect(self, url: str | None = None, **options: Any) -> None:
        if not self.connections:
            for member in self.members:
                await member.connect()
        await super().connect(url, **options)

    async def close(self) -> None:
        for member in self.members:
            await member.close()
        await super().close()

    async def start_run(self, message: str, key: str | None = None) -> RunView:
        """Start a run."""
        return await self.client.start_run(message, key)

    async def run_agent(self, message: str, deadline: float = DEADLINE_SECONDS) -> RunView:
        """Start a run and capture events until it has ended."""
        run = await self.start_run(message)
        await self.wait_for_end(run.id, deadline)
        return run

    def _member(self, joined: bool) -> TestContext:
        room = self.user.id.rpartition("@")[2]
        member = replace(self.user, id=f"member-{secrets.token_hex(4)}@{room}")
        return TestContext(self.server, member, joined=joined, watch=[self.capture.stream])

    async def _assert_shown_to_members(self) -> None:
        """The other members of the room were shown all events, and among them those that the user was shown."""
        seen = {event.seq: event for event in self.capture.events}
        for member in self.members:
            await member.wait_for_seq(max(seen, default=0))
            member.capture.assert_unbroken()
            member.capture.assert_nothing_foreign()
            others = {event.seq: event for event in member.capture.events if event.seq in seen}
            assert others == seen, f"{member.user.id} was shown other events than {self.user.id}"
