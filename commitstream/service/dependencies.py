"""Dependencies of routes: the engine and the user."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from commitstream.engine import Engine
from commitstream.service.limits import Limits
from commitstream.service.problems import Problem
from commitstream.service.tokens import InvalidToken, TokenVerifier
from commitstream.user import User

bearer = HTTPBearer(auto_error=False, description="a token of `POST /api/dev/token` in dev; yours in production")


async def get_engine(request: Request) -> Engine:
    return cast("Engine", request.app.state.engine)


async def get_tokens(request: Request) -> TokenVerifier:
    return cast("TokenVerifier", request.app.state.tokens)


async def get_limits(request: Request) -> Limits:
    return cast("Limits", request.app.state.limits)


async def get_user(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    tokens: Annotated[TokenVerifier, Depends(get_tokens)],
    limits: Annotated[Limits, Depends(get_limits)],
) -> User:
    challenge = {"WWW-Authenticate": "Bearer"}
    if credentials is None:
        raise Problem(HTTPStatus.UNAUTHORIZED, "send a token, as Authorization: Bearer <token>", challenge)
    try:
        user = tokens.user(credentials.credentials)
    except InvalidToken as invalid:
        raise Problem(HTTPStatus.UNAUTHORIZED, str(invalid), challenge) from None
    limits.count_request(user.id)
    return user


EngineDep = Annotated[Engine, Depends(get_engine)]
LimitsDep = Annotated[Limits, Depends(get_limits)]
UserDep = Annotated[User, Depends(get_user)]
