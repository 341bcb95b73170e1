"""The outermost middleware: request ids, 500 for unhandled errors, 503 until ready.

A server that refused connections during its start could not report its progress. So it answers from the beginning:
health checks with the state of the start, all other requests with 503 until the start is complete.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders

from commitstream.engine import Engine
from commitstream.lifecycle.startup import StartupManager
from commitstream.service import logs
from commitstream.service.problems import METHODS, Draining, problem_response
from commitstream.service.tracing import current_trace_id

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("commitstream.requests")

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
EXEMPT_PATHS = ("/health/", "/metrics")
DEFAULT_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_RESPONSE_START = frozenset({"http.response.start", "websocket.http.response.start"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")
_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class RequestContextMiddleware:
    def __init__(self, app: ASGIApp, startup: StartupManager, engine: Engine) -> None:
        self._app = app
        self._startup = startup
        self._engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = _request_id(headers)
        state["trace_id"] = trace_id = current_trace_id() or _trace_id(headers)
        logs.request_id.set(request_id)
        logs.trace_id.set(trace_id)
        began = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] in _RESPONSE_START:
                status = message["status"]
                answered = MutableHeaders(scope=message)
                answered["X-Request-ID"] = request_id
                for name, value in DEFAULT_HEADERS.items():
                    answered.setdefault(name, value)
            await send(message)

        try:
            await self._answer(scope)(scope, receive, send_with_id)
        except Exception:
            if status or scope["type"] == "websocket":
                raise
            logger.exception("%s %s failed", scope["method"], quote(scope["path"]))
            failed = problem_response(HTTPStatus.INTERNAL_SERVER_ERROR, "the service failed; its log says why")
            await failed(scope, receive, send_with_id)
        finally:
            if scope["type"] == "http":
                self._count(scope, status or HTTPStatus.INTERNAL_SERVER_ERROR, time.perf_counter() - began)

    def _answer(self, scope: Scope) -> ASGIApp:
        if scope["path"].startswith(EXEMPT_PATHS):
            return self._app
        if self._engine.draining and scope.get("method", "GET") not in SAFE_METHODS:
            refused = Draining()
            return problem_response(refused.status, refused.detail, refused.headers)
        if self._startup.report().ready:
            return self._app
        return problem_response(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the service is starting: GET /health/startup shows how far it is",
            {"Retry-After": "1"},
        )

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request by its route, not by its path: the number of paths has no bound."""
        route = getattr(scope.get("route"), "path", "none")
        key = (scope["method"] if scope["method"] in METHODS else "other", route, int(status))
        count, total = self._engine.requests.get(key, (0, 0.0))
        self._engine.requests[key] = (count + 1, total + seconds)
        logger.info("%s %s %d in %.1f ms", scope["method"], quote(scope["path"]), status, seconds * 1000)


def _request_id(headers: Headers) -> str:
    """Return the caller's id where it is safe to log, else a new one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.match(given) else uuid.uuid4().hex


def _trace_id(headers: Headers) -> str:
    """Return the trace id of the `traceparent` header, or a new one."""
    parent = _TRACE_PARENT.match(headers.get("traceparent", ""))
    return parent.group(1) if parent else secrets.token_hex(16)
