"""What exists in dev alone: a token for whoever asks, so that the page and curl work at once."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.api.dependencies import TokensDep
from app.api.problems import responses
from app.db.models import ID_LENGTH

router = APIRouter(prefix="/api/dev", tags=["dev"])


class Who(BaseModel):
    user: str = Field("dev", min_length=1, max_length=ID_LENGTH, pattern="^[0-9A-Za-z_.@-]+$")


class Token(BaseModel):
    token: str
    user: str


@router.post("/token", responses=responses(HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY))
async def make_token(who: Who, tokens: TokensDep) -> Token:
    """Make a token for any name."""
    return Token(token=tokens.issue(who.user), user=who.user)
