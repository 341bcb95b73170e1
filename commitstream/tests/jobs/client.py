"""The routes of the jobs as typed calls, and their users at a real socket.

async with JobsContext(server) as ada:
    job = await ada.do("hello")
"""

from __future__ import annotations

from pydantic import TypeAdapter

from commitstream.envelope import Envelope
from commitstream.tests.jobs.application import JOB_EVENTS, JobView
from test_framework.backend_client import BackendClient, given
from test_framework.servers import Server
from test_framework.test_context import DEADLINE_SECONDS, TestContext
from test_framework.users import TestUserContext
from test_framework.websocket.clients import Clients

THE_FIVE = tuple(kind.event_type for kind in JOB_EVENTS)
STARTED, THOUGHT, BEGUN, DONE, ENDED = THE_FIVE
STEP = (BEGUN, DONE)
JOB_SECONDS = 30.0
"""How long the answer to a job may take: it comes when the job has ended."""
_JOBS = TypeAdapter(list[JobView])
_EVENTS = TypeAdapter(list[Envelope])


class JobsClient(BackendClient):
    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        user: TestUserContext | None = None,
        deadline: float = JOB_SECONDS,
        patience: float = 0.0,
    ) -> None:
        super().__init__(url, token, user=user, deadline=deadline, patience=patience)

    async def start(self, message: str) -> JobView:
        """Have a job carried out; the answer comes when it has ended."""
        answer = await self.expect(202, "POST", "/api/jobs", json={"message": message})
        return JobView.model_validate_json(answer.content)

    async def jobs(self) -> list[JobView]:
        """List the user's jobs, the newest first."""
        return _JOBS.validate_json((await self.expect(200, "GET", "/api/jobs")).content)

    async def events(self, job_id: str, after: int | None = None) -> list[Envelope]:
        """Read a job's events from the journal."""
        answer = await self.expect(200, "GET", f"/api/jobs/{job_id}/events", params=given({"after": after}))
        return _EVENTS.validate_json(answer.content)


class JobsContext(TestContext):
    client: JobsClient

    def client_of(self, server: Server, user: TestUserContext) -> JobsClient:
        return JobsClient.of(server, user)

    async def start(self, message: str) -> JobView:
        """Have a job carried out."""
        return await self.client.start(message)

    async def do(self, message: str = "hello", deadline: float = DEADLINE_SECONDS) -> JobView:
        """Have a job carried out, and capture its events to the last."""
        job = await self.start(message)
        await self.wait_for_end(job.id, deadline)
        return job


CLIENTS = Clients(JobsContext)
isolated_users, two_sockets = CLIENTS.isolated_users, CLIENTS.two_sockets
slow_reader, dropping = CLIENTS.slow_reader, CLIENTS.dropping
