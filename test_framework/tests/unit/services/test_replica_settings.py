"""The settings that the service's own containers get."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from test_framework.services.replicas import Replicas
from test_framework.services.stack import Stack


def settings_of(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    (stack.checkout / ".env.local").write_text("APP_ALLOWED_ORIGINS=https://local.example\nAPP_MODEL_NAME=local\n")
    monkeypatch.delenv("APP_ALLOWED_ORIGINS", raising=False)
    monkeypatch.setenv("APP_MODEL_NAME", "given")
    before = dict(os.environ)
    settings = Replicas(stack).settings()
    assert dict(os.environ) == before
    return settings


def test_dev_containers_get_env_local_behind_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(Stack.dev(tmp_path), monkeypatch)

    assert settings["APP_ALLOWED_ORIGINS"] == "https://local.example"
    assert settings["APP_MODEL_NAME"] == "given"


def test_a_run_s_containers_ignore_env_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(settings_of(Stack.of_a_run(checkout=tmp_path), monkeypatch)) == ["APP_TOKEN_SECRET"]
