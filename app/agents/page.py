"""The page at `/`: static files, without a build step, and without files of other origins.

Its Content Security Policy enforces that: the browser runs only modules of this origin, never markup from an event, and
refuses to show the page in a frame. The name, the way to sign in and the event types are filled in here.
"""

from __future__ import annotations

from html import escape
from http import HTTPStatus
from pathlib import Path
from string import Template
from types import MappingProxyType

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.identity import identity
from commitstream.service.dependencies import EngineDep

WEB = Path(__file__).resolve().parent / "web"
INDEX = "index.html"

CONTENT_SECURITY = (
    "default-src 'self'",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)
HEADERS = MappingProxyType(
    {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": "; ".join(CONTENT_SECURITY),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
)


class WebFiles(StaticFiles):
    """The files of the page; browsers revalidate them each time, and don't guess their types."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        if path == INDEX:
            raise HTTPException(HTTPStatus.NOT_FOUND, "the page is at /")
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


router = APIRouter(include_in_schema=False)
static = WebFiles(directory=WEB)


@router.get("/")
async def page(engine: EngineDep) -> HTMLResponse:
    """Serve the page, with the service's name and version."""
    who = identity()
    words = {
        "name": who.name,
        "version": who.version,
        "description": who.description,
        "sign_in": "name" if engine.settings.environment == "dev" else "token",
        "event_types": " ".join(engine.topics.event_types),
    }
    text = Template((WEB / INDEX).read_text(encoding="utf-8"))
    return HTMLResponse(text.substitute({name: escape(word) for name, word in words.items()}), headers=HEADERS)
