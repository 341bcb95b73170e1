"""Jobs on the engine: a message is a script of events in its user's own stream, so that a test has those that it needs.

A message that is no script gives five: job_started, job_thought, step_begun, step_done, job_ended. The lines of a script
are `!think words`, `!step` and `!stall seconds`. The events are the only store.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, cast

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic_settings import SettingsConfigDict
from sqlalchemy import select
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from commitstream import (
    CleanupCoordinator,
    Domain,
    Engine,
    EngineDep,
    EngineSettings,
    Envelope,
    Event,
    Migrations,
    Order,
    Problem,
    UserDep,
    install,
    user_stream,
    users,
)
from commitstream.db.tables import JournalEntry
from commitstream.service.problems import responses
from commitstream.transports.cursors import Cursor

LONGEST_MESSAGE = 1 << 20
LARGEST_PAGE = 500
migrations = Migrations()


class JobsSettings(EngineSettings):
    model_config = SettingsConfigDict(env_prefix="JOBS_")


class JobEvent(Event, subject="job_id"):
    job_id: str


class JobStarted(JobEvent):
    message: str


class JobThought(JobEvent):
    thought: str


class StepBegun(JobEvent):
    pass


class StepDone(JobEvent):
    pass


class JobEnded(JobEvent):
    pass


_MIDDLE = (JobThought, StepBegun, JobEnded)
JOB_EVENTS = (JobStarted, JobThought, StepBegun, StepDone, JobEnded)
TOPICS = (
    users(
        events=JOB_EVENTS,
        order=Order(
            first=[JobStarted],
            follows={
                JobStarted: _MIDDLE,
                JobThought: _MIDDLE,
                StepBegun: [StepDone],
                StepDone: _MIDDLE,
                JobEnded: [],
            },
        ),
    ),
)


class NewJob(BaseModel):
    model_config = ConfigDict(extra="forbid")

    message: str = Field(min_length=1, max_length=LONGEST_MESSAGE, pattern=r"^[^\x00]*$")


class JobView(BaseModel):
    id: str
    message: str

    @classmethod
    def of(cls, started: str) -> JobView:
        """Read the first event of a job."""
        event = json.loads(started)
        return cls(id=event["subject"], message=event["payload"]["message"])


class Jobs(Domain):
    topics = TOPICS
    routes = (Mount("/files", StaticFiles(directory=Path(__file__).parent)),)

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.routers = (router,)

    def install(self, app: FastAPI) -> None:
        app.state.jobs = self

    async def carry_out(self, user_id: str, message: str, origin: dict[str, JsonValue]) -> str:
        """Write the events that the script of a message lists, each in a separate transaction."""
        job_id = secrets.token_hex(8)

        async def write(event: JobEvent) -> None:
            async with self.engine.transaction() as session:
                await self.engine.append(session, user_stream(user_id), event, metadata=origin)

        await write(JobStarted(job_id=job_id, message=message))
        lines = [line for line in message.splitlines() if line.startswith("!")]
        for line in lines or [f"!think {message}", "!step"]:
            command, _, rest = line.partition(" ")
            if command == "!stall":
                await asyncio.sleep(float(rest))
            elif command == "!think":
                await write(JobThought(job_id=job_id, thought=rest))
            else:
                await write(StepBegun(job_id=job_id))
                await write(StepDone(job_id=job_id))
        await write(JobEnded(job_id=job_id))
        return job_id

    async def list(self, user_id: str, limit: int) -> list[JobView]:
        """Return a user's jobs, the newest first."""
        of_user = JournalEntry.stream == str(user_stream(user_id))
        found = select(JournalEntry.body).where(of_user, JournalEntry.type == JobStarted.event_type)
        async with self.engine.reading() as session:
            bodies = await session.scalars(found.order_by(JournalEntry.seq.desc()).limit(limit))
            return [JobView.of(body) for body in bodies]


async def get_jobs(request: Request) -> Jobs:
    return cast("Jobs", request.app.state.jobs)


JobsDep = Annotated[Jobs, Depends(get_jobs)]
JobId = Annotated[str, Field(max_length=32, pattern="^[0-9a-f]+$")]

router = APIRouter(
    prefix="/api/jobs",
    responses=responses(HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE),
)


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    responses=responses(HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def start_job(new: NewJob, user: UserDep, jobs: JobsDep, request: Request) -> JobView:
    """Carry out a job, and answer when it has ended."""
    origin: dict[str, JsonValue] = {"request_id": request.state.request_id, "trace_id": request.state.trace_id}
    return JobView(id=await jobs.carry_out(user.id, new.message, origin), message=new.message)


@router.get("", responses=responses(HTTPStatus.UNPROCESSABLE_ENTITY))
async def list_jobs(
    user: UserDep, jobs: JobsDep, limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = LARGEST_PAGE
) -> list[JobView]:
    """List your jobs, the newest first."""
    return await jobs.list(user.id, limit)


@router.get("/{job_id}", responses=responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY))
async def show_job(job_id: JobId, user: UserDep, engine: EngineDep) -> JobView:
    """Show one of your jobs."""
    return JobView.of((await _events_of(engine, user.id, job_id, 0, 1))[0])


@router.get(
    "/{job_id}/events",
    response_model=list[Envelope],
    responses=responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def list_events(job_id: JobId, user: UserDep, engine: EngineDep, after: Cursor = 0) -> Response:
    """Read the events of a job from the journal."""
    frames = await _events_of(engine, user.id, job_id, after, LARGEST_PAGE)
    return Response(f"[{','.join(frames)}]", media_type="application/json")


async def _events_of(engine: Engine, user_id: str, job_id: str, after: int, limit: int) -> list[str]:
    stream = user_stream(user_id)
    if not (await engine.journal.about(stream, job_id, limit=1)).frames:
        raise Problem(HTTPStatus.NOT_FOUND, f"you have no job {job_id}")
    return (await engine.journal.about(stream, job_id, after, limit)).frames


def create_app(
    settings: JobsSettings, cleanup: CleanupCoordinator | None = None, *, more: tuple[Domain, ...] = ()
) -> FastAPI:
    """Build the application, with more domains where a test has some."""
    engine = Engine(settings, migrations=migrations)
    app = FastAPI(title="jobs")
    install(app, engine, [Jobs(engine), *more], cleanup)
    return app
