"""A setting of OpenTelemetry is all that a process needs to export its traces, and one that can not be met is said."""

from __future__ import annotations

from signal import SIGTERM

import httpx

from commitstream.tests.jobs.application import JobsSettings
from commitstream.tests.jobs.conftest import MODULE
from test_framework.running.service_process import run
from test_framework.servers import token


async def test_a_setting_of_opentelemetry_is_enough_for_a_process_to_export(settings: JobsSettings) -> None:
    environment = {
        "DATABASE_URL": settings.database_url,
        "JOBS_PORT": "0",
        "JOBS_LOG_LEVEL": "warning",
        "JOBS_TOKEN_SECRET": settings.token_secret.get_secret_value(),
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=here",
    }
    async with run(environment, module=MODULE) as process:
        async with httpx.AsyncClient(base_url=await process.url(), trust_env=False) as client:
            headers = {"Authorization": f"Bearer {token(settings, 'ada')}"}
            await client.post("/api/jobs", json={"message": "hello"}, headers=headers)
        ended = await process.ended(SIGTERM)

    assert ended.code == 0, ended.complained
    assert '"name": "POST /api/jobs"' in ended.said
    assert '"deployment.environment.name": "here"' in ended.said
    assert '"service.name": "unknown_service"' not in ended.said


async def test_a_process_whose_traces_can_t_be_exported_says_so_and_serves(
    settings: JobsSettings,
) -> None:
    environment = {
        "DATABASE_URL": settings.database_url,
        "JOBS_PORT": "0",
        "JOBS_LOG_LEVEL": "warning",
        "OTEL_TRACES_EXPORTER": "nowhere",
    }
    async with run(environment, module=MODULE) as process:
        url = await process.url()
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            ready = await client.get("/health/ready")
        ended = await process.ended(SIGTERM)

    assert (ready.status_code, ended.code) == (200, 0)
    [line] = ended.complained.splitlines()
    assert "no traces" in line
    assert "pip install opentelemetry-sdk" in line
