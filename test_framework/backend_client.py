"""The service's HTTP interface as typed calls; an unexpected answer fails with the request and the answer in full."""

from __future__ import annotations

from types import TracebackType
from typing import Self, cast

import httpx
from pydantic import TypeAdapter

from app.api.runs import RunView
from app.events.envelope import Envelope

DEADLINE_SECONDS = 10.0
_RUNS = TypeAdapter(list[RunView])
_EVENTS = TypeAdapter(list[Envelope])


class UnexpectedAnswer(AssertionError):
    """The service answered otherwise than the caller of a typed method had to expect."""


class BackendClient:
    """Speaks for one user; as a context manager it closes its connections."""

    def __init__(self, url: str, token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # reading the certificates that only https needs takes longer than most tests
        verify = url.startswith("https:")
        self._http = httpx.AsyncClient(
            base_url=url, headers=headers, timeout=DEADLINE_SECONDS, trust_env=False, verify=verify
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def request(self, method: str, path: str, **options: object) -> httpx.Response:
        """Send anything, and take whatever comes."""
        return await self._http.request(method, path, **options)  # type: ignore[arg-type]

    async def start_run(self, message: str, key: str | None = None) -> RunView:
        headers = {"Idempotency-Key": key} if key else {}
        answer = await self._expect(202, "POST", "/api/runs", json={"message": message}, headers=headers)
        return RunView.model_validate_json(answer.content)

    async def runs(self) -> list[RunView]:
        return _RUNS.validate_json((await self._expect(200, "GET", "/api/runs")).content)

    async def run(self, run_id: str) -> RunView:
        return RunView.model_validate_json((await self._expect(200, "GET", f"/api/runs/{run_id}")).content)

    async def events(self, run_id: str, after: int = 0) -> list[Envelope]:
        answer = await self._expect(200, "GET", f"/api/runs/{run_id}/events", params={"after": after})
        return _EVENTS.validate_json(answer.content)

    async def cancel(self, run_id: str) -> RunView:
        return RunView.model_validate_json((await self._expect(202, "POST", f"/api/runs/{run_id}/cancel")).content)

    async def ready(self) -> dict[str, object]:
        """What /health/ready says, whether it can serve or not."""
        return cast("dict[str, object]", (await self.request("GET", "/health/ready")).json())

    async def _expect(self, status: int, method: str, path: str, **options: object) -> httpx.Response:
        answer = await self.request(method, path, **options)
        if answer.status_code != status:
            raise UnexpectedAnswer(
                f"{method} {path} {options or ''}: expected {status}, got {answer.status_code}\n{answer.text[:2000]}"
            )
        return answer
