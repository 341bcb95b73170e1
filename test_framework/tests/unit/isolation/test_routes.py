"""Routes as they are listed, and the one that somebody meant who got a 404."""

from __future__ import annotations

from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.security import HTTPBearer

from test_framework.backend_client import BackendClient
from test_framework.overrides import at_work, overridden, take_back
from test_framework.routes import hint, routes_of, routes_of_dev
from test_framework.servers import Server
from test_framework.websocket.http_errors import UnexpectedAnswer

bearer = HTTPBearer()


def user(token: Annotated[object, Depends(bearer)]) -> str:
    return str(token)


@pytest.fixture
def app() -> FastAPI:
    router = APIRouter(prefix="/things")

    @router.get("/{thing_id}")
    def show(thing_id: str, user: Annotated[str, Depends(user)]) -> None: ...

    @router.post("")
    def make() -> None: ...

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router, prefix="/api")
    return app


def test_a_route_is_listed_with_who_may_and_what_it_needs(app: FastAPI) -> None:
    make, show = routes_of(app)

    assert (make.method, make.path, make.name, make.auth) == ("POST", "/api/things", "make", "-")
    assert (show.method, show.path, show.name, show.auth) == ("GET", "/api/things/{thing_id}", "show", "HTTPBearer")
    assert show.needs == "user(HTTPBearer)"


def test_dev_has_its_pages_its_socket_and_its_tokens() -> None:
    found = {str(route): route.auth for route in routes_of_dev()}

    assert found["GET /api/events"] == "HTTPBearer"
    assert found["WEBSOCKET /ws"] == "its first message"
    assert found["POST /api/dev/token"] == "-"
    assert found["GET /health/ready"] == "-"


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("GET", "/api/thing/7", "no such route; the nearest is GET /api/things/{thing_id}"),
        ("POST", "/things", "no such route; the nearest is POST /api/things"),
        ("DELETE", "/api/things/7", "/api/things/{thing_id} answers to GET, not to DELETE"),
        ("GET", "/api/things/7", "the route GET /api/things/{thing_id} exists: what it looked for does not"),
        ("GET", "/wp-login.php", "no route is like it"),
    ],
)
def test_whoever_missed_is_told_what_is_there(app: FastAPI, method: str, path: str, said: str) -> None:
    assert hint(method, path, routes_of(app)).startswith(said)


async def test_a_404_in_a_test_names_the_nearest_route(server: Server) -> None:
    async with BackendClient(server.url) as client:
        with pytest.raises(UnexpectedAnswer, match="the nearest is GET /health/ready"):
            await client.expect(200, "GET", "/healthy/ready")


def test_an_override_ends_with_its_block(app: FastAPI) -> None:
    with at_work(app), overridden(app, user, lambda: "ada"):
        pass
    with at_work(app):
        assert take_back() == []


def test_an_override_that_stays_is_named_and_undone(app: FastAPI) -> None:
    with at_work(app):
        app.dependency_overrides[user] = lambda: "ada"

        assert take_back() == [f"{__name__}.user"]
        assert app.dependency_overrides == {}
