"""What the engine refuses to start with: secrets that can be guessed, and doors that are open in dev."""

from __future__ import annotations

import secrets
import string

import pytest
from pydantic import ValidationError

from commitstream.settings import LOOPBACK, EngineSettings, guessable

GOOD = secrets.token_urlsafe(48)
WEAK = {
    "missing": "",
    "short": secrets.token_urlsafe(23)[:31],
    "blank": " " * 64,
    "one character": "x" * 64,
    "few characters": "correcthorse" * 2 + "ccorrectthorsee",
    "a word over and over": "change-me-" * 4,
    "digits over and over": "0123456789" * 4,
    "a word over and over, cut off": ("my very secret secret!" * 3)[:50],
    "the alphabet": string.ascii_letters[:40],
    "the alphabet backwards": string.ascii_letters[40::-1],
}


def settings_of(**given: str) -> EngineSettings:
    """The engine's settings; the environment has no say."""
    return EngineSettings.model_validate(given)


def production(secret: str) -> EngineSettings:
    return settings_of(environment="production", token_secret=secret)


@pytest.mark.parametrize("secret", WEAK.values(), ids=WEAK.keys())
def test_production_refuses_a_secret_that_can_be_guessed(secret: str) -> None:
    with pytest.raises(ValidationError, match="production needs COMMITSTREAM_TOKEN_SECRET"):
        production(secret)


@pytest.mark.parametrize("make", [secrets.token_urlsafe, secrets.token_hex])
def test_production_takes_a_random_secret(make: object) -> None:
    assert callable(make)
    for _ in range(500):
        assert not guessable(make(32))
    assert production(make(32)).signing_key


def test_dev_makes_a_secret_of_its_own_that_lives_as_long_as_the_process() -> None:
    one, two = settings_of(), settings_of()

    assert one.signing_key == two.signing_key
    assert not guessable(one.signing_key)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.0.1", "example.org", "127.0.0.1.nip.io"])
def test_dev_refuses_to_listen_beyond_loopback(host: str) -> None:
    with pytest.raises(ValidationError, match="loopback only"):
        settings_of(host=host)


@pytest.mark.parametrize("host", sorted(LOOPBACK))
def test_dev_listens_on_loopback(host: str) -> None:
    assert settings_of(host=host).host == host


def test_production_listens_where_it_is_told() -> None:
    given = settings_of(environment="production", token_secret=GOOD, host="0.0.0.0")

    assert given.host == "0.0.0.0"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("postgres://ada@db/app", "postgresql+asyncpg://ada@db/app"),
        ("postgresql://ada@db/app", "postgresql+asyncpg://ada@db/app"),
        ("sqlite:///x.db", "sqlite+aiosqlite:///x.db"),
    ],
)
def test_a_url_as_the_world_spells_it_gets_its_driver(given: str, kept: str) -> None:
    assert settings_of(database_url=given).database_url == kept
