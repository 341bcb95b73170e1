"""What routes are given: the service, the user, and where a request comes from."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.agents.runs import Origin
from app.api.limits import Limits
from app.api.problems import Problem
from app.api.tokens import InvalidToken, Tokens, User
from app.service import Service

bearer = HTTPBearer(auto_error=False, description="a token of `POST /api/dev/token` in dev; yours in production")


async def get_service(request: Request) -> Service:
    return cast("Service", request.app.state.service)


async def get_tokens(request: Request) -> Tokens:
    return cast("Tokens", request.app.state.tokens)


async def get_limits(request: Request) -> Limits:
    return cast("Limits", request.app.state.limits)


async def get_user(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    tokens: Annotated[Tokens, Depends(get_tokens)],
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


ServiceDep = Annotated[Service, Depends(get_service)]
TokensDep = Annotated[Tokens, Depends(get_tokens)]
LimitsDep = Annotated[Limits, Depends(get_limits)]
UserDep = Annotated[User, Depends(get_user)]


async def get_origin(request: Request, user: UserDep) -> Origin:
    return Origin(user.id, request_id=request.state.request_id, trace_id=request.state.trace_id)


OriginDep = Annotated[Origin, Depends(get_origin)]
