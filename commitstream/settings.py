"""The settings of the engine, each typed and documented once.

DATABASE_URL and REDIS_URL have no prefix; all others are named by the prefix and the field. Without the
two URLs there is one process on SQLite; with them, any number on Postgres and Redis.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

EMBEDDED_DATABASE = "sqlite+aiosqlite:///.data/commitstream.db"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
CONNECTIONS = 20
SHORTEST_SECRET = 32
FEWEST_CHARACTERS = 10

Words = Annotated[tuple[str, ...], NoDecode]


class SettingsError(Exception):
    """The service can't start with these settings."""


class EngineSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="COMMITSTREAM_", extra="ignore", frozen=True, populate_by_name=True)

    environment: Literal["dev", "production"] = Field(
        "dev", description="dev makes its own secret and tokens, on loopback only; production demands yours"
    )
    host: str = Field("127.0.0.1", description="the address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="the port to listen on; in dev the next free one if taken")
    database_url: str = Field(
        EMBEDDED_DATABASE,
        validation_alias=AliasChoices("DATABASE_URL", "database_url"),
        repr=False,
        description="sqlite+aiosqlite:///… or postgresql+asyncpg://…",
    )
    migrate: bool = Field(False, description="apply missing migrations at start; an embedded database always does")
    database_pool_size: int = Field(
        CONNECTIONS, ge=1, description="how many connections to Postgres a process may have at once; others wait"
    )
    redis_url: str = Field(
        "",
        validation_alias=AliasChoices("REDIS_URL", "redis_url"),
        repr=False,
        description="redis://… carries events between processes; empty: one process, no Redis",
    )
    channel_prefix: str = Field(
        "events",
        pattern=r"^[^{}]+$",
        description="what the names of this service's Redis channels begin with, without braces",
    )
    token_secret: SecretStr = Field(
        SecretStr(""),
        description="signs the bearer tokens; production demands at least 32 random characters",
    )
    token_audience: str = Field("app", min_length=1, description="the audience (`aud`) of the bearer tokens")
    allowed_hosts: Words = Field(
        ("127.0.0.1", "localhost", "[::1]"), description="Host headers to answer to, separated by commas"
    )
    allowed_origins: Words = Field(
        (), description="other origins whose pages may call this service, separated by commas"
    )
    metrics_token: SecretStr = Field(
        SecretStr(""),
        description="what a scraper of /metrics sends as its bearer token; empty: loopback alone is answered",
    )
    requests_per_minute: int = Field(
        1200, ge=1, description="how many requests a user may make in a minute, per process"
    )
    sockets_per_user: int = Field(
        50, ge=1, description="how many sockets and streams a user may have at once, per process"
    )
    shutdown_timeout_seconds: float = Field(
        20.0, ge=0, description="how long a process that shuts down waits for current work; in dev, 0.3"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="how much to log")
    log_format: Literal["console", "json"] = Field("console", description="console for people, json for machines")

    @field_validator("allowed_hosts", "allowed_origins", mode="before")
    @classmethod
    def split_words(cls, value: object) -> object:
        return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def name_an_async_driver(cls, url: str) -> str:
        scheme, separator, rest = url.partition("://")
        if not separator:
            raise ValueError("not a URL; use sqlite+aiosqlite:///file or postgresql+asyncpg://…")
        scheme = {
            "postgres": "postgresql+asyncpg",
            "postgresql": "postgresql+asyncpg",
            "sqlite": "sqlite+aiosqlite",
        }.get(scheme, scheme)
        if scheme not in {"postgresql+asyncpg", "sqlite+aiosqlite"} or not rest:
            raise ValueError(f"{scheme}:// is not served here; use sqlite+aiosqlite:///file or postgresql+asyncpg://…")
        return f"{scheme}://{rest}"

    @field_validator("redis_url")
    @classmethod
    def name_a_redis(cls, url: str) -> str:
        if url and not url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("not a Redis URL; use redis://host:port/0, or leave it empty for the in-process bus")
        return url

    @model_validator(mode="after")
    def be_safe_outside_dev(self) -> Self:
        if self.environment == "dev" and self.host not in LOOPBACK:
            raise ValueError(
                f"dev gives any client a token, so it listens on loopback only, not on {self.host}: "
                f"set {self.variable('environment')}=production, or {self.variable('host')}=127.0.0.1"
            )
        secret = self.token_secret.get_secret_value()
        if self.environment == "production" and guessable(secret):
            raise ValueError(
                f"production needs {self.variable('token_secret')}, random and of at least {SHORTEST_SECRET} characters: "
                'make one with python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
            )
        metrics = self.metrics_token.get_secret_value()
        if self.environment == "production" and metrics and guessable(metrics):
            variable = self.variable("metrics_token")
            raise ValueError(f"{variable} must be random and of at least {SHORTEST_SECRET} characters, or empty")
        return self

    @property
    def signing_key(self) -> str:
        """The secret that signs tokens; in dev, where none is set or stored, one for this process."""
        return self.token_secret.get_secret_value() or _process_secret()

    @property
    def shutdown_timeout(self) -> float:
        return min(self.shutdown_timeout_seconds, 0.3) if self.environment == "dev" else self.shutdown_timeout_seconds

    @property
    def embedded_database(self) -> bool:
        return self.database_url.startswith("sqlite")

    @property
    def embedded_bus(self) -> bool:
        return not self.redis_url

    @classmethod
    def variable(cls, field: str) -> str:
        """Return the environment variable that sets a field."""
        alias = cls.model_fields[field].validation_alias
        prefix = cls.model_config.get("env_prefix", "")
        return str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"{prefix}{field.upper()}"

    @classmethod
    def unknown_variables(cls, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the variables with the prefix that set no field, each with the closest name that does."""
        prefix = str(cls.model_config.get("env_prefix", "")).upper()
        known = [cls.variable(field) for field in cls.model_fields]
        accepted = {*known, *(f"{prefix}{field.upper()}" for field in cls.model_fields)}
        return {
            name: get_close_matches(name.upper(), known, n=1, cutoff=0)[0]
            for name in environment
            if prefix and name.upper().startswith(prefix) and name.upper() not in accepted
        }


def guessable(secret: str) -> bool:
    """Return whether a secret is short, has few distinct characters, repeats itself or counts."""
    repeats = any(secret.startswith(secret[period:]) for period in range(1, len(secret) // 2 + 1))
    steps = Counter(ord(after) - ord(before) for before, after in pairwise(secret))
    counts = max(steps.values(), default=0) > len(secret) // 2
    return len(secret) < SHORTEST_SECRET or len(set(secret)) < FEWEST_CHARACTERS or repeats or counts


@cache
def _process_secret() -> str:
    return secrets.token_urlsafe(48)
