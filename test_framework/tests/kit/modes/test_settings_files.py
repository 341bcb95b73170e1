"""What stands in `.env.test` and `.env.ci` is what the service under test runs with, setting by setting."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from app.settings import Settings
from test_framework import CHECKOUT
from test_framework.environment.env_files import read_entries, set_by_fixtures
from test_framework.running.planted import Planted

pytestmark = pytest.mark.timeout(120)  # each starts separate Pythons, on a machine that may be busy

OTHER_VALUES = {
    "APP_ENVIRONMENT": "production",
    "APP_HOST": "localhost",
    "APP_PORT": "1",
    "APP_MIGRATE": "true",
    "APP_DATABASE_POOL_SIZE": "7",
    "APP_TOKEN_AUDIENCE": "planted",
    "APP_ALLOWED_HOSTS": "planted.example.org",
    "APP_ALLOWED_ORIGINS": "https://planted.example.org",
    "APP_MODEL": "openai",
    "APP_MODEL_URL": "https://planted.example.org/v1",
    "APP_MODEL_KEY": "planted",
    "APP_MODEL_NAME": "planted",
    "APP_METRICS_TOKEN": secrets.token_urlsafe(48),
    "APP_LOG_LEVEL": "error",
}
WRITES_SETTINGS = """
import json
from pathlib import Path

import test_framework.settings

test_framework.settings.project_root = lambda: Path({root!r})
from app.settings import Settings
from pydantic import SecretStr

def test_it(make_settings, request):
    found = {{}}
    for name, value in make_settings():
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        found[Settings.variable(name)] = ",".join(plain) if isinstance(plain, tuple) else str(plain)
    Path({root!r}, "seen.json").write_text(json.dumps(found))
"""


def planted_value(key: str, value: str) -> str:
    """Another value that the service accepts: a known one, or another number."""
    if key in OTHER_VALUES:
        return OTHER_VALUES[key]
    if key == "APP_LOG_FORMAT":
        return "console" if value == "json" else "json"
    return str(int(float(value)) + 1)


@pytest.mark.parametrize(("file", "ci"), [(".env.test", ""), (".env.ci", "true")])
def test_each_setting_of_a_file_reaches_the_service(tmp_path: Path, file: str, ci: str) -> None:
    entries = {entry.key: entry.value or "" for entry in read_entries(CHECKOUT / file)}
    planted = {key: planted_value(key, value) for key, value in entries.items()}
    project = Planted(tmp_path)
    project.file(file, "".join(f"{key}={value}\n" for key, value in planted.items()))
    project.file("tests/unit/test_it.py", WRITES_SETTINGS.format(root=str(tmp_path)))

    ended = project.run("--mode=lightweight", "-n0", CI=ci)

    assert ended.code == 0, ended.output
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert set(planted) == {Settings.variable(name) for name in Settings.model_fields} - set_by_fixtures()
    assert {key: as_read(seen[key]) for key in planted} == {key: as_read(value) for key, value in planted.items()}


def as_read(value: str) -> str:
    """Make `true` and `True`, `21` and `21.0` the same."""
    try:
        return str(float(value))
    except ValueError:
        return value.lower()


LOGS = """
import os
import httpx
from test_framework.servers import in_process

async def test_it(settings):
    async with in_process(settings, {"PYTHONPATH": os.environ["PYTHONPATH"]}) as server:
        async with httpx.AsyncClient() as client:
            for _ in range(2):  # the first is logged before the second is answered, not before it is answered itself
                await client.get(f"{server.url}/api/runs")
        print("LOGGED", server.said.splitlines()[:1])
    assert False
"""


@pytest.mark.parametrize(("ci", "logged"), [("", "LOGGED []"), ("true", "LOGGED ['{\"")])
def test_a_process_logs_as_its_file_says(tmp_path: Path, ci: str, logged: str) -> None:
    project = Planted(tmp_path)
    project.file("tests/unit/test_it.py", LOGS)

    ended = project.run("--mode=lightweight", "-n0", CI=ci)

    assert logged in ended.said, ended.output
