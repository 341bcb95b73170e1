"""Bearer tokens: they prove the user of a request by a signature, until they expire."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Protocol

import jwt
from jwt.types import Options

from commitstream.db.base import ID_LENGTH
from commitstream.settings import EngineSettings
from commitstream.user import User

ALGORITHM = "HS256"
LIFETIME = timedelta(hours=8)
# `iat` proves nothing, and after a clock was set back its check would refuse all users
CHECKED = Options(require=["sub", "aud", "exp"], verify_iat=False)
LATEST = datetime(9000, 1, 1, tzinfo=UTC).timestamp()


class InvalidToken(Exception):
    """A token that is refused; the message says why, and never quotes it."""


class TokenVerifier(Protocol):
    """Verifies tokens."""

    def user(self, token: str) -> User:
        """Return the user of a token; raises `InvalidToken`."""
        ...


class Tokens:
    def __init__(self, settings: EngineSettings) -> None:
        self._key = settings.signing_key
        self._key_id = hashlib.sha256(self._key.encode()).hexdigest()[:16]
        self._audience = settings.token_audience

    def issue(self, user_id: str, lifetime: timedelta = LIFETIME) -> str:
        """Make a token for a user."""
        now = datetime.now(UTC)
        claims = {"sub": user_id, "aud": self._audience, "iat": now, "exp": now + lifetime}
        return jwt.encode(claims, self._key, ALGORITHM, headers={"kid": self._key_id})

    def user(self, token: str) -> User:
        """Return whose token this is; raises `InvalidToken`.

        A token needs no `kid`; one that names another key than ours is refused with that reason.
        """
        try:
            if jwt.get_unverified_header(token).get("kid", self._key_id) != self._key_id:
                raise InvalidToken("the token's `kid` names a key that is not in use here: sign in again")
            claims = jwt.decode(token, self._key, [ALGORITHM], audience=self._audience, options=CHECKED)
        except jwt.ExpiredSignatureError:
            raise InvalidToken("the token has expired") from None
        except (jwt.InvalidTokenError, ValueError, OverflowError, RecursionError):
            raise InvalidToken("the token is not valid here") from None
        user_id, expires = claims["sub"], claims["exp"]
        if not 0 < len(user_id) <= ID_LENGTH or not user_id.isprintable():
            raise InvalidToken("the token names no user")
        if not isinstance(expires, int | float) or expires > LATEST:
            raise InvalidToken("the token's `exp` is out of range")
        return User(user_id, datetime.fromtimestamp(expires, UTC))
