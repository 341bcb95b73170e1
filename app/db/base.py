"""The declarative base of this service's tables."""

from __future__ import annotations

from commitstream.db.base import Base

__all__ = ["Base"]
