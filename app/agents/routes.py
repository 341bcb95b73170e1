"""Runs over HTTP: start, show, list and cancel them, read their events. A user sees only their own."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Self, cast
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from app.agents.runner import Runner
from app.agents.runs import Origin, Runs
from app.agents.tables import KEY_LENGTH, Run, RunStatus
from commitstream.db.base import ID_LENGTH
from commitstream.envelope import Envelope
from commitstream.journal import PAGE_CHARACTERS
from commitstream.service.dependencies import EngineDep, UserDep
from commitstream.service.problems import Problem, responses
from commitstream.transports.cursors import Cursor

router = APIRouter(
    prefix="/api/runs",
    tags=["runs"],
    responses=responses(HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE),
)

LONGEST_MESSAGE = 1 << 20
LARGEST_PAGE = 500
NO_NUL = r"^[^\x00]*$"

PAGED: dict[int | str, dict[str, object]] = {
    200: {
        "headers": {
            "Link": {
                "description": 'where there is more: `</api/…>; rel="next"`, the address of the next page (RFC 8288)',
                "schema": {"type": "string"},
            }
        }
    }
}

RunId = Annotated[str, Field(max_length=ID_LENGTH, pattern="^[0-9a-f]+$", description="a run's id")]


def _written_out(value: object) -> object:
    if isinstance(value, str) and "T" not in value.upper():
        raise ValueError("a timestamp is written as 2026-11-21T06:12:03Z")
    return value


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("timestamp out of range") from None


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_in_utc)]


async def get_runner(request: Request) -> Runner:
    return cast("Runner", request.app.state.runner)


async def get_runs(request: Request) -> Runs:
    return cast("Runs", request.app.state.runs)


async def get_origin(request: Request, user: UserDep) -> Origin:
    return Origin(user.id, request_id=request.state.request_id, trace_id=request.state.trace_id)


RunnerDep = Annotated[Runner, Depends(get_runner)]
RunsDep = Annotated[Runs, Depends(get_runs)]
OriginDep = Annotated[Origin, Depends(get_origin)]


class NewRun(BaseModel):
    model_config = ConfigDict(extra="forbid")

    message: str = Field(
        min_length=1,
        max_length=LONGEST_MESSAGE,
        pattern=NO_NUL,
        description="what to work on; a NUL can't be stored in a text",
        examples=["How many words are these?"],
    )


class RunView(BaseModel):
    id: str
    status: RunStatus
    message: str
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, run: Run) -> Self:
        return cls.model_validate(run, from_attributes=True)


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    responses=responses(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ),
)
async def start_run(
    body: NewRun,
    origin: OriginDep,
    runner: RunnerDep,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=KEY_LENGTH, pattern=r"^[\x21-\x7e]+$")] = None,
) -> RunView:
    """Start an agent's run on a message; with an Idempotency-Key, retries don't start another one."""
    run = await runner.start(origin, body.message, idempotency_key)
    response.headers["Location"] = f"/api/runs/{run.id}"
    return RunView.of(run)


@router.get("", responses={**PAGED, **responses(HTTPStatus.UNPROCESSABLE_ENTITY)})
async def list_runs(
    user: UserDep,
    runs: RunsDep,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = 50,
    before: Annotated[Moment | None, Query(description="only runs created before this time")] = None,
    beyond: Annotated[
        RunId | None, Query(description="of the runs created at exactly that time, those after this one in the list")
    ] = None,
) -> list[RunView]:
    """List your runs, the newest first, a page of about a megabyte at most; `Link` has the next."""
    found, more = await runs.list(user.id, limit, PAGE_CHARACTERS, before, beyond)
    if more:
        last = found[-1]
        response.headers["Link"] = _next(
            "/api/runs", limit=limit, before=last.created_at.isoformat().replace("+00:00", "Z"), beyond=last.id
        )
    return [RunView.of(run) for run in found]


@router.get("/{run_id}", responses=responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY))
async def show_run(run_id: RunId, user: UserDep, runs: RunsDep) -> RunView:
    """Show one of your runs."""
    return RunView.of(_found(await runs.get(user.id, run_id), run_id))


@router.get(
    "/{run_id}/events",
    response_model=list[Envelope],
    responses={**PAGED, **responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)},
)
async def list_events(
    run_id: RunId,
    user: UserDep,
    runs: RunsDep,
    engine: EngineDep,
    after: Annotated[Cursor, Query(description="only events with a greater seq")] = 0,
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = LARGEST_PAGE,
) -> Response:
    """Read a run's events from the journal, a page of about a megabyte at most; `Link` has the next."""
    _found(await runs.get(user.id, run_id), run_id)
    page = await engine.journal.about(runs.stream_of(user.id), run_id, after, limit, PAGE_CHARACTERS)
    more = {} if page.next is None else {"Link": _next(f"/api/runs/{run_id}/events", after=page.next, limit=limit)}
    return Response(f"[{','.join(page.frames)}]", media_type="application/json", headers=more)


@router.post(
    "/{run_id}/cancel",
    status_code=HTTPStatus.ACCEPTED,
    responses=responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def cancel_run(run_id: RunId, user: UserDep, runner: RunnerDep) -> RunView:
    """Cancel one of your runs; `agent_completed` reports when it has ended."""
    return RunView.of(_found(await runner.cancel(user.id, run_id), run_id))


def _next(path: str, **query: object) -> str:
    return f'<{path}?{urlencode(query)}>; rel="next"'


def _found(run: Run | None, run_id: str) -> Run:
    if run is None:
        raise Problem(HTTPStatus.NOT_FOUND, f"you have no run {run_id}: GET /api/runs lists those you have")
    return run
