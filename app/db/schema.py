"""This service's migrations, up to the tables that the engine and the domains declare."""

from __future__ import annotations

from pathlib import Path

from app.db.base import Base
from app.domains import import_tables
from commitstream.db.migrate import Migrations

import_tables()
migrations = Migrations(Path(__file__).parent / "migrations" / "versions", [Base.metadata])
