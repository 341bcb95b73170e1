"""The app's settings as a test or one .env file gives them; the environment of the process that runs it has no say."""

from __future__ import annotations

from typing import Any

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
        return (init_settings, dotenv_settings)


def settings_for_tests(**own: Any) -> IsolatedSettings:
    """Read `.env.test`, or `.env.ci` on a build server; `own` is what a test must have for itself."""
    from test_framework import CHECKOUT
    from test_framework.environment.env_files import file_for_tests

    return IsolatedSettings(_env_file=file_for_tests(CHECKOUT), **own)
