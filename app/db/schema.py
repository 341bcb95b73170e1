"""This service's migrations. Every module that declares tables is imported here."""

from __future__ import annotations

from pathlib import Path

from app.agents import tables  # noqa: F401 (declares its tables)
from app.db.base import Base
from commitstream.db import tables as engine_tables  # noqa: F401 (declares the engine's tables)
from commitstream.db.migrate import Migrations

migrations = Migrations(Path(__file__).parent / "migrations", Base.metadata)
