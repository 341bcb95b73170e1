"""A start that fails ends `uvicorn shop:app`, whose exit code says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from test_framework import CHECKOUT

END_SECONDS = 20
STARTUP_FAILURE = 3  # uvicorn's own
APPLICATION = """
from fastapi import FastAPI
from commitstream import Engine, install

app = FastAPI()
install(app, Engine())
"""


@pytest.fixture
def damaged(tmp_path: Path) -> str:
    file = tmp_path / "damaged.db"
    file.write_bytes(b"not a database" * 100)
    return f"sqlite+aiosqlite:///{file}"


def test_a_failed_start_ends_uvicorn_with_the_error(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "shop.py").write_text(APPLICATION, encoding="utf-8")

    ended = subprocess.run(
        [sys.executable, "-m", "uvicorn", "shop:app", "--port", "0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "DATABASE_URL": damaged, "REDIS_URL": ""},
        capture_output=True,
        text=True,
        timeout=END_SECONDS,
        check=False,
    )

    assert ended.returncode == STARTUP_FAILURE, ended.stderr
    assert "database did not start" in ended.stderr
    assert "is not a SQLite database" in ended.stderr
    assert "Traceback" not in ended.stderr
