"""Refuses a foreign Host, and a body that is too large or too costly to parse, before any route.

By DNS rebinding, a foreign page can make a browser send requests to this address; they have the page's own name in
their Host header. So only the configured names are accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from commitstream.service import json_limits
from commitstream.service.problems import problem_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 4 << 20
TOO_LARGE = f"the body is larger than {LARGEST_BODY >> 20} MiB"
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")


class RequestGuardMiddleware:
    def __init__(self, app: ASGIApp, hosts: Iterable[str], variable: str) -> None:
        self._app = app
        self._variable = variable
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not self._known(headers.getlist("host")):
            refusal = problem_response(
                HTTPStatus.BAD_REQUEST, f"this service does not answer to that Host: add it to {self._variable}"
            )
            await refusal(scope, receive, send)
        elif int(headers.get("content-length", 0)) > LARGEST_BODY:
            await problem_response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE)(scope, receive, send)
        elif scope["type"] == "http" and "json" in headers.get("content-type", "").lower():
            await self._app_with_json(scope, _measured(receive), send)
        else:
            await self._app(scope, _measured(receive), send)

    async def _app_with_json(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the whole body, and pass it on where it can be parsed quickly."""
        chunks: list[bytes] = []
        message: Message = {"type": "http.request", "more_body": True}
        try:
            while message["type"] == "http.request" and message.get("more_body", False):
                message = await receive()
                chunks.append(message.get("body", b""))
        except HTTPException as too_large:
            await problem_response(too_large.status_code, too_large.detail)(scope, receive, send)
            return
        body = b"".join(chunks)
        if refused := json_limits.refusal(body):
            await problem_response(*refused)(scope, receive, send)
            return
        waiting: list[Message] = [{"type": "http.request", "body": body}]
        if message["type"] != "http.request":
            waiting = [message]

        async def replay() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, replay, send)

    def _known(self, given: list[str]) -> bool:
        """Whether there is one Host header, and its name is a configured one; the port may be any."""
        if "*" in self._hosts:
            return True
        found = _HOST.fullmatch(given[0].lower()) if len(given) == 1 else None
        name = found.group(1) if found else ""
        return any(name == ours or (ours[:2] == "*." and name.endswith(ours[1:])) for ours in self._hosts)


def _measured(receive: Receive) -> Receive:
    """Pass a body on, up to the limit."""
    size = 0

    async def receive_measured() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b"")) if message["type"] == "http.request" else 0
        if size > LARGEST_BODY:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE)
        return message

    return receive_measured
