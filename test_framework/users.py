"""Simulated users: each with an identity that the app really accepts, and tokens it must not."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import timedelta

from app.api.tokens import Tokens
from app.settings import Settings


@dataclass(frozen=True)
class TestUserContext:
    """One simulated user; `TestUserContext.of(settings)` makes one that nobody else is."""

    __test__ = False

    settings: Settings = field(repr=False)
    id: str
    name: str = "Ada"

    @classmethod
    def of(cls, settings: Settings, name: str = "ada") -> TestUserContext:
        return cls(settings, id=f"{name}-{secrets.token_hex(4)}", name=name)

    @property
    def token(self) -> str:
        """A token that the app accepts."""
        return Tokens(self.settings).issue(self.id)

    @property
    def expired_token(self) -> str:
        """A token that was good until a minute ago."""
        return Tokens(self.settings).issue(self.id, timedelta(minutes=-1))

    @property
    def forged_token(self) -> str:
        """A token in this user's name, signed by somebody else."""
        stranger = self.settings.model_copy(
            update={"token_secret": type(self.settings.token_secret)(secrets.token_hex(32))}
        )
        return Tokens(stranger).issue(self.id)
