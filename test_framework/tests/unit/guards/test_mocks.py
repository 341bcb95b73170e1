"""Services are not mocked where they are real; constants, other modules and other folders are free."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from test_framework import CHECKOUT
from test_framework.guards import mocks
from test_framework.guards.source import Source

Plant = Callable[[str, str], Source]

FAULTS = {
    "unittest.mock": ("import unittest.mock", "imports unittest.mock"),
    "mock of unittest": ("from unittest import mock", "imports unittest.mock"),
    "a name of unittest.mock": ("from unittest.mock import AsyncMock", "imports unittest.mock.AsyncMock"),
    "fakeredis": ("import fakeredis.aioredis as redis", "imports fakeredis.aioredis"),
    "mocker": ("def test_it(mocker): ...", "asks for the fixture mocker"),
    "a client": (
        "import redis.asyncio\ndef test_it(monkeypatch):\n    monkeypatch.setattr(redis.asyncio, 'Redis', object)",
        "replaces redis.asyncio.Redis",
    ),
    "a class of a client": (
        "from sqlalchemy.ext.asyncio import AsyncSession\n"
        "def test_it(monkeypatch):\n    monkeypatch.setattr(AsyncSession, 'execute', None)",
        "replaces sqlalchemy.ext.asyncio.AsyncSession.execute",
    ),
    "a path": (
        "def test_it(monkeypatch):\n    monkeypatch.setattr('commitstream.db.database.connect', None)",
        "replaces commitstream.db.database.connect",
    ),
    "the service's bus": (
        "from commitstream.bus import redis\ndef test_it(monkeypatch):\n    monkeypatch.setattr(redis, 'query_topology', None)",
        "replaces commitstream.bus.redis.query_topology",
    ),
    "an assignment": (
        "from commitstream.bus import redis_link\nredis_link.connect = lambda: None",
        "replaces commitstream.bus.redis_link.connect",
    ),
}
HARMLESS = {
    "a constant": (
        "from commitstream.bus import redis_link\n"
        "def test_it(monkeypatch):\n    monkeypatch.setattr(redis_link, 'CANCEL_SECONDS', 0.0)"
    ),
    "something else of the service": (
        "from commitstream.transports import sse\ndef test_it(monkeypatch):\n    monkeypatch.setattr(sse, 'written', None)"
    ),
    "something of a test": "def test_it(monkeypatch):\n    monkeypatch.setattr(Counted, 'number', 1)",
    "a fixture that is called like a client": "def test_it(redis):\n    redis.answer = 1",
    "a real client": "from redis.asyncio import Redis\nasync def test_it(redis_url):\n    Redis.from_url(redis_url)",
    "a stated purpose": "import unittest.mock  # on purpose: the clock is replaced, and no service",
    "the word": "text = 'unittest.mock'",
}


@pytest.mark.parametrize("folder", ["tests/integration", "tests/full/api"])
@pytest.mark.parametrize(("code", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_mock_of_a_service_is_refused_where_services_are_real(
    plant: Plant, folder: str, code: str, fault: str
) -> None:
    findings = mocks.check([plant(f"{folder}/test_it.py", f"{code}\n")])

    assert [finding.message.partition(",")[0] for finding in findings] == [fault]


@pytest.mark.parametrize("code", HARMLESS.values(), ids=HARMLESS)
def test_what_mocks_no_service_is_allowed(plant: Plant, code: str) -> None:
    assert mocks.check([plant("tests/integration/test_it.py", f"{code}\n")]) == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("tests/integration/test_it.py", 1),
        ("tests/full/deep/test_it.py", 1),
        ("tests/unit/test_it.py", 0),
        ("tests/mission_critical/test_it.py", 0),
        ("test_framework/tests/kit/test_it.py", 0),
    ],
)
def test_the_command_fails_where_services_are_real(plant: Plant, tmp_path: Path, path: str, code: int) -> None:
    plant(path, "from unittest.mock import patch\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    ended = subprocess.run(
        [sys.executable, "-m", "test_framework.guards", path],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == code, ended.stdout + ended.stderr
    assert (f"{path}:1: imports unittest.mock.patch" in ended.stdout) is bool(code)
