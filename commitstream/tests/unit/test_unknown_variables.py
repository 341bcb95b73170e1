"""A variable with the service's prefix that sets nothing, such as a setting's old name, is not ignored in silence."""

from __future__ import annotations

import logging

import pytest
from fastapi import FastAPI
from pydantic_settings import SettingsConfigDict

from commitstream import Engine, EngineSettings, install

START_SECONDS = 10.0


class ShopSettings(EngineSettings):
    model_config = SettingsConfigDict(env_prefix="SHOP_")

    longest_lot_hours: int = 24


class WithoutPrefix(EngineSettings):
    model_config = SettingsConfigDict(env_prefix="")


@pytest.mark.parametrize(
    ("variable", "closest"),
    [
        ("SHOP_DRAIN_TIMEOUT_SECONDS", "SHOP_SHUTDOWN_TIMEOUT_SECONDS"),
        ("SHOP_LONGEST_LOT_HOUR", "SHOP_LONGEST_LOT_HOURS"),
        ("shop_prot", "SHOP_PORT"),
        ("SHOP_REDISURL", "REDIS_URL"),
    ],
)
def test_an_unknown_variable_is_found_with_the_closest_name(variable: str, closest: str) -> None:
    assert ShopSettings.unknown_variables({variable: "5"}) == {variable: closest}


@pytest.mark.parametrize(
    "variable",
    [
        "SHOP_PORT",
        "shop_port",
        "SHOP_LONGEST_LOT_HOURS",
        "DATABASE_URL",
        "SHOP_DATABASE_URL",
        "COMMITSTREAM_PROT",
        "HOME",
    ],
)
def test_variables_that_are_read_or_of_other_programs_are_not_named(variable: str) -> None:
    assert ShopSettings.unknown_variables({variable: "5"}) == {}


def test_without_a_prefix_no_variable_is_named() -> None:
    assert WithoutPrefix.unknown_variables({"PROT": "5", "PATH": "/bin"}) == {}


async def test_the_start_warns_of_an_unknown_variable(
    database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SHOP_PROT", "a secret value")
    app = FastAPI()
    install(app, Engine(ShopSettings(database_url=database_url, redis_url="")))

    with caplog.at_level(logging.WARNING, "commitstream.application"):
        async with app.router.lifespan_context(app):
            await app.state.startup.wait_ready(START_SECONDS)

    assert "SHOP_PROT is set, but no setting has that name; the closest is SHOP_PORT" in caplog.messages
    assert "a secret value" not in caplog.text
