"""What an application answers to: its routes, what is around them, and what they depend on, as plain lines."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.dependencies.models import Dependant

WEBSOCKET = "WEBSOCKET"
OPEN_TO_ALL = "-"
SOCKET_AUTH = "its first message"
NEAR_ENOUGH = 0.6


@dataclass(frozen=True, order=True)
class Route:
    """One method of one path; `needs` is all that FastAPI works out before it, as a tree in one line."""

    path: str
    method: str
    name: str
    auth: str = OPEN_TO_ALL
    needs: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def routes_of(app: FastAPI) -> list[Route]:
    """List every route, those of mounted applications as one."""
    return sorted(_routes(app))


@functools.cache
def routes_of_dev() -> tuple[Route, ...]:
    """The routes that `nox -s dev` serves, whatever this machine's own settings say."""
    from test_framework.project import project

    return tuple(routes_of(project().create_app(project().dev_settings())))


def middleware_of(app: FastAPI) -> list[str]:
    """Name the layers around the routes, from the outside in."""
    layers = [layer.cls for layer in app.user_middleware]
    return [f"{layer.__module__}.{getattr(layer, '__qualname__', layer)}" for layer in layers]


def nearest(method: str, path: str, routes: Sequence[Route]) -> Route | None:
    """The route that somebody may have meant who asked for one that does not exist."""
    return max(routes, key=lambda route: (_likeness(path, route), route.method == method), default=None)


def hint(method: str, path: str, routes: Sequence[Route]) -> str:
    """What to say to whoever got a 404: the path is there, or this one is nearest."""
    fits = [route for route in routes if _likeness(path, route) == 1.0]
    if any(route.method == method for route in fits):
        return f"the route {method} {fits[0].path} exists: what it looked for does not"
    if fits:
        return f"{fits[0].path} answers to {', '.join(route.method for route in fits)}, not to {method}"
    near = nearest(method, path, routes)
    if near is None or _likeness(path, near) < NEAR_ENOUGH:
        return "no route is like it; the routes are listed by: invoke routes"
    return f"no such route; the nearest is {near} (all of them: invoke routes)"


def _routes(app: FastAPI) -> Iterator[Route]:
    from fastapi.routing import iter_route_contexts
    from starlette.routing import Mount, WebSocketRoute

    for context in iter_route_contexts(app.router.routes):
        route = context.original_route
        path, name = context.path or "/", context.name or ""
        if isinstance(route, WebSocketRoute):
            yield Route(path, WEBSOCKET, name, SOCKET_AUTH)
        elif isinstance(route, Mount):
            yield Route(f"{path}/{{path}}", "GET", name)
        else:
            dependant: Dependant | None = getattr(context, "dependant", None)
            needs = _tree(dependant.dependencies) if dependant else ""
            for method in sorted((context.methods or set()) - {"HEAD"}):
                yield Route(path, method, name, _auth(dependant), needs)


def _tree(dependencies: Iterable[Dependant]) -> str:
    """Dependencies and theirs, as `a(b, c(d))`."""
    return ", ".join(
        _called(dependant) + (f"({_tree(dependant.dependencies)})" if dependant.dependencies else "")
        for dependant in dependencies
    )


def _called(dependant: Dependant) -> str:
    call = dependant.call
    return str(getattr(call, "__qualname__", type(call).__qualname__))


def _auth(dependant: Dependant | None) -> str:
    """The security schemes that stand anywhere before a route."""
    from fastapi.security.base import SecurityBase

    if dependant is None:
        return OPEN_TO_ALL
    call: object = dependant.call
    own = [str(call.scheme_name)] if isinstance(call, SecurityBase) else []
    found = [*own, *(_auth(below) for below in dependant.dependencies)]
    return ", ".join(dict.fromkeys(name for name in found if name != OPEN_TO_ALL)) or OPEN_TO_ALL


def _likeness(path: str, route: Route) -> float:
    """1 where a route's path would take this one, less the more they differ; a parameter stands for any part."""
    asked, offered = path.partition("?")[0].strip("/").split("/"), route.path.strip("/").split("/")
    filled = [
        part if wanted.startswith("{") else wanted for part, wanted in zip(asked, offered, strict=False)
    ] + offered[len(asked) :]
    return difflib.SequenceMatcher(None, "/".join(asked), "/".join(filled)).ratio()
