"""A route in dev that makes a token for any name, so that a page and curl work at once."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated, cast

from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, Field

from commitstream.db.base import ID_LENGTH
from commitstream.service.dependencies import EngineDep
from commitstream.service.loopback import on_loopback
from commitstream.service.problems import Problem, responses
from commitstream.service.tokens import Tokens

router = APIRouter(prefix="/api/dev", tags=["dev"])


NAME = "^[0-9A-Za-z_.@-]+$"


def _of_plain_characters(name: str) -> str:
    if re.fullmatch(NAME, name) is None:
        raise ValueError("only the letters A to Z, digits and . _ @ - are allowed, and no spaces")
    return name


class Who(BaseModel):
    user: Annotated[
        str,
        Field(min_length=1, max_length=ID_LENGTH, json_schema_extra={"pattern": NAME}),
        AfterValidator(_of_plain_characters),
    ] = "dev"


class Token(BaseModel):
    token: str
    user: str


@router.post(
    "/token",
    responses=responses(
        *(HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN),
        *(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY),
    ),
)
async def make_token(who: Who, request: Request, engine: EngineDep) -> Token:
    """Make a token for any name."""
    # the settings refuse another host than loopback, but not every server listens where they say
    if request.client is not None and on_loopback(request.client.host) is False:
        variable = engine.settings.variable("environment")
        raise Problem(
            HTTPStatus.FORBIDDEN, f"tokens for any name are made on loopback alone: set {variable}=production"
        )
    tokens = cast("Tokens", request.app.state.tokens)
    return Token(token=tokens.issue(who.user), user=who.user)
