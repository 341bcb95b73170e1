"""The app's settings as a test or one .env file gives them; the environment of the process that runs it has no say."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import AliasChoices
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from test_framework.configuration import project_root
from test_framework.project import project


@cache
def isolated(settings_type: type[BaseSettings]) -> type[BaseSettings]:
    """Return a class with the same settings, which reads nothing of the environment."""

    class Isolated(settings_type):  # type: ignore[misc, valid-type]
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

    return Isolated


def isolated_settings(**given: Any) -> Any:
    """Return the project's settings: what is given, and the defaults; the environment has no say."""
    return isolated(project().settings_type())(**given)


def settings_for_tests(**own: Any) -> Any:
    """Read `.env.test`, or `.env.ci` on a build server; `own` is what a test must have for itself."""
    from test_framework.environment.env_files import file_for_tests

    return isolated_settings(_env_file=file_for_tests(project_root()), **own)


def variable(settings_type: type[BaseSettings], field: str) -> str:
    """Return the environment variable that sets a field, as pydantic-settings names it."""
    alias = settings_type.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return alias if isinstance(alias, str) else f"{settings_type.model_config.get('env_prefix', '')}{field}".upper()
