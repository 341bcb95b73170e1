"""Health that never lies: live (the loop turns), ready (this process can serve), startup (how far it has come).

Not ready means: can't serve. With Redis away the service is ready and degraded, because the journal delivers; with the
database away it is not ready. However many probes come, the database is asked one question at a time.
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


class Question:
    """Asked by one call at a time: whoever asks meanwhile waits for the same answer, which then holds for a moment.

    A call that is late is left to end: where a database has frozen, to cancel it would take just as long.
    """

    def __init__(self, ask: Callable[[], Awaitable[None]]) -> None:
        self._ask = ask
        self._asked_at = 0.0
        self._holds_until = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._answer = Check(ok=False, detail="was not asked yet")

    async def check(self) -> Check:
        """Answer within a second, from what was learned a moment ago or anew."""
        now = asyncio.get_running_loop().time
        if now() >= self._holds_until:
            if self._asking is None or self._asking.done():
                self._asked_at = now()
                self._asking = asyncio.create_task(self._put(), name="health: ask")
            answered, _ = await asyncio.wait([self._asking], timeout=CHECK_SECONDS)
            if not answered:
                self._remember(ok=False, detail=f"has not answered for {now() - self._asked_at:.1f} s")
        return self._answer

    async def _put(self) -> None:
        try:
            await self._ask()
        except Exception as error:  # noqa: BLE001, whatever it is, it is the answer
            self._remember(ok=False, detail=f"can't be reached: {type(error).__name__}")
        else:
            self._remember(ok=True, detail="answers")

    def _remember(self, *, ok: bool, detail: str) -> None:
        self._answer = Check(ok=ok, detail=detail)
        self._holds_until = asyncio.get_running_loop().time() + REMEMBERED_SECONDS


class Health:
    """What this process would say of itself."""

    def __init__(self, engine: Engine, startup: StartupManager) -> None:
        self._engine = engine
        self._startup = startup
        self._database = Question(engine.database.ping)

    def started(self) -> StartupReport:
        """Tell how far the start is; outside dev without what errors say, which may be an address, a name or a file."""
        report = self._startup.report()
        return report if self._engine.settings.environment == "dev" else _without_words(report)

    async def assess(self) -> Readiness:
        """Say whether this process can serve, by asking what it depends on."""
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
        """Ask nothing: the bus hears its own beat five times a second, and knows when it stays away."""
        healthy = self._engine.bus.healthy
        return Check(ok=healthy, detail="answers" if healthy else "away: events come from the journal")


def _without_words(report: StartupReport) -> StartupReport:
    phases = tuple(
        replace(phase, components=tuple(replace(part, error=_kind(part.error)) for part in phase.components))
        for phase in report.phases
    )
    return replace(report, error=_kind(report.error), phases=phases)


def _kind(error: str) -> str:
    """What went wrong, up to the words of the error itself."""
    before, colon, _ = error.partition(": ")
    return f"{before}: the log says more" if colon else error


async def get_health(request: Request) -> Health:
    return cast("Health", request.app.state.health)


HealthDep = Annotated[Health, Depends(get_health)]


@router.get("/live")
async def live() -> dict[str, str]:
    """Answer, which proves that the event loop turns."""
    return {"status": "live"}


@router.get("/ready", responses={503: {"model": Readiness, "description": "can't serve"}})
async def ready(response: Response, health: HealthDep) -> Readiness:
    """Say whether this process can serve, by asking what it depends on."""
    readiness = await health.assess()
    if readiness.status not in {"ready", "degraded"}:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return readiness


@router.get("/startup", responses={503: {"model": StartupReport, "description": "not started yet"}})
async def startup(response: Response, health: HealthDep) -> StartupReport:
    """Tell how far the start has come, phase by phase."""
    report = health.started()
    if not report.ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return report
