"""What OpenAPI says of the service: everything that may be asked and answered, and nothing that is secret."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest

from commitstream.tests.jobs.application import JobsSettings, create_app
from commitstream.tests.jobs.inside import PROBLEM, Inside


@pytest.fixture(scope="module")
def described(plain: JobsSettings) -> dict[str, Any]:
    return create_app(plain).openapi()


def operations(described: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }


async def test_the_description_is_served(inside: Inside) -> None:
    assert (await inside.client.get("/openapi.json")).json()["openapi"].startswith("3.")


def test_every_route_is_described_in_a_sentence(described: dict[str, Any]) -> None:
    assert [name for name, operation in operations(described).items() if not operation.get("description")] == []


def test_every_error_is_described_as_a_problem(described: dict[str, Any]) -> None:
    for name, operation in operations(described).items():
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and not name.startswith("GET /health"):
                assert list(answer["content"]) == [PROBLEM], f"{name} {status}"
    assert "HTTPValidationError" not in json.dumps(described)


def test_all_that_belongs_to_a_user_needs_a_token(described: dict[str, Any]) -> None:
    for name, operation in operations(described).items():
        needs_one = "/api/" in name and "/api/dev/" not in name
        assert bool(operation.get("security")) == needs_one, name
        assert ("401" in operation["responses"]) == needs_one, name


def test_the_stream_is_described_as_one(described: dict[str, Any]) -> None:
    assert list(described["paths"]["/api/events"]["get"]["responses"]["200"]["content"]) == ["text/event-stream"]


def test_production_neither_makes_tokens_nor_speaks_of_it(plain: JobsSettings) -> None:
    update = {"environment": "production", "token_secret": type(plain.token_secret)(secrets.token_urlsafe(48))}
    settings = plain.model_copy(update=update)

    described = create_app(settings).openapi()

    assert not [path for path in described["paths"] if "dev" in path]
    assert settings.signing_key not in json.dumps(described)
