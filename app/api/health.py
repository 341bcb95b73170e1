"""Health that never lies: live (the loop turns), ready (this process can serve), startup (how far it has come).

Not ready means: can't serve. With Redis away the service is ready and degraded, because the journal delivers; with the
database away it is not ready.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Literal, cast

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.dependencies import ServiceDep
from app.db.database import CONNECTION_LOST
from app.lifecycle.plan import StartupReport, State
from app.lifecycle.startup import StartupManager
from app.service import Service

router = APIRouter(prefix="/health", tags=["health"])

CHECK_SECONDS = 1.0


class Check(BaseModel):
    ok: bool
    detail: str


class Readiness(BaseModel):
    status: Literal["ready", "degraded", "draining", "starting", "failed"]
    phase: str | None
    checks: dict[str, Check]


@router.get("/live")
async def live() -> dict[str, str]:
    """Answer, which proves that the event loop turns."""
    return {"status": "live"}


@router.get("/ready", responses={503: {"model": Readiness, "description": "can't serve"}})
async def ready(request: Request, response: Response, service: ServiceDep) -> Readiness:
    """Say whether this process can serve, by asking what it depends on."""
    readiness = await _assess(service, _startup(request))
    if readiness.status not in {"ready", "degraded"}:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return readiness


@router.get("/startup", responses={503: {"description": "not started yet"}})
async def startup(request: Request, response: Response) -> StartupReport:
    """Tell how far the start has come, phase by phase."""
    report = _startup(request).report()
    if not report.ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return report


def _startup(request: Request) -> StartupManager:
    return cast("StartupManager", request.app.state.startup)


async def _assess(service: Service, startup: StartupManager) -> Readiness:
    report = startup.report()
    if service.draining:
        return Readiness(status="draining", phase=report.phase, checks={})
    if not report.ready:
        status: Literal["failed", "starting"] = "failed" if report.state is State.FAILED else "starting"
        return Readiness(status=status, phase=report.phase, checks={})
    database = await _check_database(service)
    bus = Check(
        ok=service.bus.healthy, detail="answers" if service.bus.healthy else "away: events come from the journal"
    )
    if not database.ok:
        status_now: Literal["failed", "ready", "degraded"] = "failed"
    else:
        status_now = "ready" if bus.ok and report.state is State.READY else "degraded"
    return Readiness(status=status_now, phase=report.phase, checks={"database": database, "bus": bus})


async def _check_database(service: Service) -> Check:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await service.database.ping()
    except CONNECTION_LOST as error:
        return Check(ok=False, detail=f"can't be reached: {type(error).__name__}")
    return Check(ok=True, detail="answers")
