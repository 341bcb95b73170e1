"""Errors as RFC 9457 problems: what went wrong, why, and what to do; never a stack, never SQL."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from commitstream.db.database import CONNECTION_LOST

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = "1"
SHOWN_FAULTS = 10
LONGEST_LOCATION = 20
LONGEST_TEXT = 200
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class ProblemDetail(BaseModel):
    """An error, as RFC 9457 has it."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    errors: list[dict[str, object]] | None = Field(
        None, description=f"which fields are at fault, the first {SHOWN_FAULTS} of them"
    )


class Problem(Exception):
    """An error that is answered with a status, a detail and headers."""

    def __init__(self, status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}


class Draining(Problem):
    """This process is shutting down, and takes no new work."""

    def __init__(self) -> None:
        super().__init__(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "this process is shutting down: try again, or reconnect with your cursor",
            {"Retry-After": RETRY_SECONDS},
        )


def problem_response(
    status: int, detail: str, headers: dict[str, str] | None = None, errors: list[dict[str, object]] | None = None
) -> JSONResponse:
    """Return the response for a problem."""
    body = ProblemDetail(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=errors)
    return JSONResponse(body.model_dump(exclude_none=True), status, headers, MEDIA_TYPE)


def responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, object]]:
    """Return what a route may answer besides success, for its OpenAPI description."""
    content = {MEDIA_TYPE: {"schema": ProblemDetail.model_json_schema()}}
    return {status.value: {"description": status.phrase, "content": content} for status in statuses}


def allowed_methods(routes: Sequence[BaseRoute], scope: Scope) -> list[str]:
    """Return every method of a request's path; the router itself names those of the first route that fits."""
    scopes = {method: {**scope, "method": method} for method in METHODS}
    return [method for method in METHODS if any(route.matches(scopes[method])[0] is Match.FULL for route in routes)]


def _where(location: Sequence[object]) -> list[object]:
    return [_short(part) if isinstance(part, str) else part for part in location[:LONGEST_LOCATION]]


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def install(app: FastAPI) -> None:
    """Install handlers that answer every error of an app as a problem."""

    @app.exception_handler(Problem)
    async def known(request: Request, problem: Problem) -> JSONResponse:
        return problem_response(problem.status, problem.detail, problem.headers)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(allowed_methods(request.app.router.routes, request.scope))
        return problem_response(error.status_code, str(error.detail), headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = error.errors()
        shown = [
            {"where": _where(fault["loc"]), "why": _short(fault["msg"].removeprefix("Value error, "))}
            for fault in faults[:SHOWN_FAULTS]
        ]
        rest = len(faults) - len(shown)
        detail = f"the request can't be understood{f'; {rest:,} more faults are not shown' if rest else ''}"
        return problem_response(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=jsonable_encoder(shown))

    async def away(request: Request, error: Exception) -> JSONResponse:
        logger.warning("%s %s: %s", request.method, request.url.path, error)
        return problem_response(
            HTTPStatus.SERVICE_UNAVAILABLE, "the database can't be reached; try again", {"Retry-After": RETRY_SECONDS}
        )

    async def ours(request: Request, error: Exception) -> JSONResponse:
        raise error

    for lost in (*CONNECTION_LOST, DBAPIError, PoolTimeout):
        app.add_exception_handler(lost, away)
    for fault in (ProgrammingError, IntegrityError, DataError):
        app.add_exception_handler(fault, ours)
