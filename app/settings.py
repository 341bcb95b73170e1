"""Every setting of the service: the engine's, and those of the domains.

The app, compose and the tests read the same names: DATABASE_URL and REDIS_URL, everything else as APP_<NAME>.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import SettingsConfigDict

from commitstream.settings import EngineSettings, SettingsError

ROOT = Path(__file__).resolve().parent.parent
EMBEDDED_DATABASE = f"sqlite+aiosqlite:///{ROOT / '.data' / 'app.db'}"


class Settings(EngineSettings):
    model_config = SettingsConfigDict(env_prefix="APP_")

    database_url: str = Field(
        EMBEDDED_DATABASE,
        validation_alias=AliasChoices("DATABASE_URL", "database_url"),
        repr=False,
        description="sqlite+aiosqlite:///… or postgresql+asyncpg://…",
    )
    model: Literal["scripted", "openai"] = Field(
        "scripted",
        description="scripted is deterministic and needs nothing; openai is any compatible endpoint",
    )
    model_url: str = Field("", description="where the openai model is served, as https://host/v1")
    model_key: SecretStr = Field(SecretStr(""), description="the key for that endpoint")
    model_name: str = Field("", description="which model to ask there")
    model_timeout_seconds: float = Field(60.0, gt=0, description="how long to wait there for one answer")

    @model_validator(mode="after")
    def name_the_model(self) -> Self:
        if self.model == "openai" and not (self.model_url and self.model_name):
            raise ValueError("the openai model needs APP_MODEL_URL and APP_MODEL_NAME (and mostly APP_MODEL_KEY)")
        return self


def load_settings(
    env_file: Path | None = ROOT / ".env.local", given: Mapping[str, Any] = MappingProxyType({})
) -> Settings:
    """Read the settings: what is given goes before the environment, and that before `.env.local`."""
    try:
        return Settings(_env_file=env_file, **given)
    except ValidationError as invalid:
        lines = [
            f"  {_spelling(error['loc'])}{error['msg'].removeprefix('Value error, ')}" for error in invalid.errors()
        ]
        raise SettingsError("\n".join(["these settings can't be used:", *lines])) from None


def _spelling(location: tuple[int | str, ...]) -> str:
    if not location:
        return ""
    name = str(location[0])
    return f"{Settings.variable(name)}: " if name in Settings.model_fields else f"{name}: "
