"""What the service refuses to start with, and in which words."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from app.settings import EMBEDDED_DATABASE, Settings, load_settings
from commitstream.settings import SettingsError

GOOD = secrets.token_urlsafe(48)


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"APP_{name.upper()}", raising=False)
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)


def test_production_refuses_a_secret_that_can_be_guessed_and_does_not_show_it() -> None:
    with pytest.raises(SettingsError, match="production needs APP_TOKEN_SECRET") as refused:
        load_settings(None, {"environment": "production", "token_secret": "change-me-" * 4})

    assert "change-me" not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("APP_PORT", "80a"), ("APP_PORT", "65536"), ("APP_PORT", "-1"), ("APP_ENVIRONMENT", "staging"),
        ("DATABASE_URL", "mysql://root:hunter2@db/app"), ("DATABASE_URL", "root:hunter2@db/app"), ("DATABASE_URL", ""),
        ("REDIS_URL", "http://:hunter2@cache"), ("APP_LOG_LEVEL", "loud"), ("APP_REQUESTS_PER_MINUTE", "0"),
        ("APP_SOCKETS_PER_USER", "many"), ("APP_TOKEN_AUDIENCE", ""), ("APP_SHUTDOWN_TIMEOUT_SECONDS", "-1"),
        ("APP_MODEL", "oracle"),
    ],
)  # fmt: skip
def test_a_setting_that_can_not_be_used_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError) as refused:
        load_settings(None)

    first, second = str(refused.value).splitlines()
    assert first == "these settings can't be used:"
    assert second.startswith(f"  {variable}: ")
    assert "hunter2" not in str(refused.value)


def test_all_faults_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_PORT", "x")
    monkeypatch.setenv("APP_LOG_LEVEL", "x")

    with pytest.raises(SettingsError) as refused:
        load_settings(None)

    assert "APP_PORT" in str(refused.value)
    assert "APP_LOG_LEVEL" in str(refused.value)


def test_no_secret_is_shown_where_settings_are() -> None:
    settings = load_settings(
        None,
        {
            "token_secret": GOOD,
            "model_key": "model-hunter2",
            "database_url": "postgresql://ada:hunter2@db/app",
            "redis_url": "redis://:hunter2@cache",
        },
    )

    shown = f"{settings!r} {settings} {settings.model_dump(mode='python', include={'token_secret', 'model_key'})}"

    assert "hunter2" not in shown
    assert GOOD not in shown


def test_an_environment_variable_goes_before_the_file_and_what_is_given_before_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / ".env.local"
    file.write_text("APP_PORT=1\nAPP_HOST=localhost\nAPP_LOG_LEVEL=debug\n")
    monkeypatch.setenv("APP_PORT", "2")
    monkeypatch.setenv("APP_HOST", "::1")

    settings = load_settings(file, {"port": 3})

    assert (settings.port, settings.host, settings.log_level) == (3, "::1", "debug")


def test_without_any_setting_everything_is_embedded_and_closed() -> None:
    settings = load_settings(None)

    assert settings.database_url == EMBEDDED_DATABASE
    assert settings.embedded_bus
    assert settings.allowed_origins == ()
    assert set(settings.allowed_hosts) == {"127.0.0.1", "localhost", "[::1]"}
