"""Cross-origin requests: a page may use the methods that the routes of a path take."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from starlette.middleware.cors import CORSMiddleware

from commitstream.service.problems import allowed_methods

if TYPE_CHECKING:
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

REQUEST_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID")
ANSWER_HEADERS = ("Link", "Location", "Retry-After", "X-Request-ID")


class Cors:
    """Starlette's middleware, with the methods looked up for each preflight request."""

    def __init__(self, app: ASGIApp, origins: Collection[str], routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._origins = origins
        self._routes = routes
        self._simple = self._allowing(())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        preflight = scope["type"] == "http" and scope["method"] == "OPTIONS"
        middleware = self._allowing(allowed_methods(self._routes, scope)) if preflight else self._simple
        await middleware(scope, receive, send)

    def _allowing(self, methods: Collection[str]) -> CORSMiddleware:
        return CORSMiddleware(
            self._app,
            allow_origins=self._origins,
            allow_methods=methods,
            allow_headers=REQUEST_HEADERS,
            expose_headers=ANSWER_HEADERS,
        )
