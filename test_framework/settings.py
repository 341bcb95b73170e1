"""The app's settings as a test gives them: what is on the developer's machine, environment or .env, has no say."""

from __future__ import annotations

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from app.settings import Settings


class IsolatedSettings(Settings):
    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)
