"""Simulated users: each with an identity that the app really accepts, and tokens it must not.

What a user does can be told from what others do: their requests carry their session in `X-Request-ID` and their thread as
the W3C trace, and the service keeps both with every event that comes of it, as metadata.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

from pydantic import SecretStr

from test_framework.project import project

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings


@dataclass(frozen=True)
class TestUserContext:
    """One simulated user; `TestUserContext.of(settings)` makes one that nobody else is."""

    __test__ = False

    settings: BaseSettings = field(repr=False)
    id: str
    name: str = "Ada"
    role: str = "user"  # a label for tests: the service knows no roles until yours does
    session_id: str = field(default_factory=lambda: secrets.token_hex(8))
    thread_id: str = field(default_factory=lambda: secrets.token_hex(16))
    metadata: dict[str, object] = field(default_factory=dict, compare=False)
    _requests: count[int] = field(default_factory=lambda: count(1), repr=False, compare=False)

    @classmethod
    def of(
        cls, settings: BaseSettings, name: str = "ada", *, role: str = "user", **metadata: object
    ) -> TestUserContext:
        """Make a user whom no other test knows."""
        return cls(settings, id=f"{name}-{secrets.token_hex(4)}", name=name, role=role, metadata=metadata)

    @property
    def stream(self) -> str:
        """The name of the user's own stream."""
        return f"user:{self.id}"

    @property
    def token(self) -> str:
        """A token that the app accepts."""
        return project().token(self.settings, self.id)

    def token_for(self, lifetime: timedelta) -> str:
        """Make a token that the app accepts for so long."""
        return project().token(self.settings, self.id, lifetime)

    @property
    def expired_token(self) -> str:
        """A token that was good until a minute ago."""
        return self.token_for(timedelta(minutes=-1))

    @property
    def forged_token(self) -> str:
        """A token in this user's name, signed by an application with other secrets."""
        others = {
            name: SecretStr(secrets.token_hex(32)) for name, value in self.settings if isinstance(value, SecretStr)
        }
        return project().token(self.settings.model_copy(update=others), self.id)

    def traces(self) -> dict[str, str]:
        """The headers by which the next request can be told to be this user's, also from its events' metadata."""
        return {
            "X-Request-ID": f"{self.session_id}-{next(self._requests)}",
            "traceparent": f"00-{self.thread_id}-{secrets.token_hex(8)}-01",
        }
