"""This service, as the test kit knows it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from test_framework.websocket.adapter import CommitstreamAdapter

if TYPE_CHECKING:
    from fastapi import FastAPI

    from app.settings import Settings
    from commitstream import Migrations, Topic


class Project(CommitstreamAdapter):
    module = "app"

    def settings_type(self) -> type[Settings]:
        from app.settings import Settings

        return Settings

    def load_settings(self, env_file: Path | None) -> Settings:
        from app.settings import load_settings

        return load_settings(env_file)

    def create_app(self, settings: Settings) -> FastAPI:
        from app.main import create_app

        return create_app(settings)

    def migrations(self) -> Migrations:
        from app.db.schema import migrations

        return migrations

    def topics(self) -> Iterable[Topic]:
        from app.domains import topics

        return topics()
