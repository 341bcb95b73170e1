"""The user of a connection or a request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class User:
    """An authenticated user."""

    id: str
    expires: datetime
    """When the user's token expires."""
