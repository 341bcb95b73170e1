"""Health checks: live (the event loop runs), ready (this process can serve), startup (its progress).

Not ready means: can't serve. Without Redis the service is ready and degraded, because the journal delivers; without the
database it is not ready. However many probes come, the database is queried once at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Literal, cast

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from commitstream.engine import Engine
from commitstream.lifecycle.plan import StartupReport, State
from commitstream.lifecycle.startup import StartupManager

router = APIRouter(prefix="/health", tags=["health"])

CHECK_SECONDS = 1.0
REMEMBERED_SECONDS = 0.5

Status = Literal["ready", "degraded", "draining", "starting", "failed"]


class Check(BaseModel):
    ok: bool
    detail: str


class Readiness(BaseModel):
    status: Status
    phase: str | None
    checks: dict[str, Check]


class CachedCheck:
    """A check whose concurrent callers share one result, which is cached for a moment.

    A check that times out is not cancelled: with a frozen database the cancellation would take just as long.
    """

    def __init__(self, call: Callable[[], Awaitable[None]]) -> None:
        self._call = call
        self._started_at = 0.0
        self._cached_until = 0.0
        self._running: asyncio.Task[None] | None = None
        self._result = Check(ok=False, detail="was not checked yet")

    async def check(self) -> Check:
        """Return the result within a second, cached or new."""
        now = asyncio.get_running_loop().time
        if now() >= self._cached_until:
            if self._running is None or self._running.done():
                self._started_at = now()
                self._running = asyncio.create_task(self._run(), name="health: check")
            done, _ = await asyncio.wait([self._running], timeout=CHECK_SECONDS)
            if not done:
                self._store(ok=False, detail=f"has not answered for {now() - self._started_at:.1f} s")
        return self._result

    async def _run(self) -> None:
        try:
            await self._call()
        except Exception as error:  # noqa: BLE001, any error is the result
            self._store(ok=False, detail=f"can't be reached: {type(error).__name__}")
        else:
            self._store(ok=True, detail="answers")

    def _store(self, *, ok: bool, detail: str) -> None:
        self._result = Check(ok=ok, detail=detail)
        self._cached_until = asyncio.get_running_loop().time() + REMEMBERED_SECONDS


class Health:
    """The health of this process."""

    def __init__(self, engine: Engine, startup: StartupManager) -> None:
        self._engine = engine
        self._startup = startup
        self._database = CachedCheck(engine.database.ping)

    def started(self) -> StartupReport:
        """Return the state of the start; outside dev without messages, which may name hosts."""
        report = self._startup.report()
        return report if self._engine.settings.environment == "dev" else _without_messages(report)

    async def assess(self) -> Readiness:
        """Return whether this process can serve, by checking what it depends on."""
        report = self._startup.report()
        if self._engine.draining:
            return Readiness(status="draining", phase=report.phase, checks={})
        if not report.ready:
            failed = report.state in {State.FAILED, State.STOPPED}
            return Readiness(status="failed" if failed else "starting", phase=report.phase, checks={})
        checks = {"database": await self._database.check(), "bus": self._check_bus()}
        status: Status = "ready" if checks["bus"].ok and report.state is State.READY else "degraded"
        return Readiness(status=status if checks["database"].ok else "failed", phase=report.phase, checks=checks)

    def _check_bus(self) -> Check:
        """Return the bus's state without a query: its heartbeat shows it five times a second."""
        healthy = self._engine.bus.healthy
        return Check(ok=healthy, detail="answers" if healthy else "away: events come from the journal")


def _without_messages(report: StartupReport) -> StartupReport:
    phases = tuple(
        replace(phase, components=tuple(replace(part, error=_kind(part.error)) for part in phase.components))
        for phase in report.phases
    )
    return replace(report, error=_kind(report.error), phases=phases)


def _kind(error: str) -> str:
    """Return what failed, without the message of the error itself."""
    before, colon, _ = error.partition(": ")
    return f"{before}: the log says more" if colon else error


async def get_health(request: Request) -> Health:
    return cast("Health", request.app.state.health)


HealthDep = Annotated[Health, Depends(get_health)]


@router.get("/live")
async def live() -> dict[str, str]:
    """Answer, which shows that the event loop runs."""
    return {"status": "live"}


@router.get("/ready", responses={503: {"model": Readiness, "description": "can't serve"}})
async def ready(response: Response, health: HealthDep) -> Readiness:
    """Return whether this process can serve, by checking what it depends on."""
    readiness = await health.assess()
    if readiness.status not in {"ready", "degraded"}:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return readiness


@router.get("/startup", responses={503: {"model": StartupReport, "description": "not started yet"}})
async def startup(response: Response, health: HealthDep) -> StartupReport:
    """Return the state of the start, phase by phase."""
    report = health.started()
    if not report.ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return report
