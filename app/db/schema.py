"""This service's migrations, up to the tables that the engine and the domains declare."""

from __future__ import annotations

from pathlib import Path

from app.db.base import Base
from app.domains import import_tables, migration_folders
from app.settings import Settings
from commitstream.db.migrate import Migrations, NextSteps

import_tables()
migrations = Migrations(
    Path(__file__).parent / "migrations" / "versions",
    [Base.metadata],
    NextSteps(
        upgrade=f"run `python -m app migrate`, or start with {Settings.variable('migrate')}=true",
        unknown=(
            "deploy the code that has this migration, name another database by DATABASE_URL, "
            "or make the embedded one in .data again, without its data: invoke db.reset"
        ),
        merge='invoke db.merge --message "…"',
        revise='invoke db.revision --empty --message "…"',
    ),
    domains=migration_folders(),
)
