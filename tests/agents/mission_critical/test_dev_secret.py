"""In dev without APP_TOKEN_SECRET, a token is valid after a restart."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import httpx
import pytest

from app.dev_secret import NAME, kept_secret
from app.settings import ROOT
from test_framework import SERVICE
from test_framework.running.service_process import run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout of nothing but the service, whose `.data` is the test's own."""
    for part in (*SERVICE, "pyproject.toml"):
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / part)
    return tmp_path


@pytest.mark.timeout(60)
async def test_a_token_of_dev_is_valid_after_a_restart(root: Path) -> None:
    answers = []
    token = ""
    for _ in range(2):
        async with (
            run({"APP_PORT": "0", "REDIS_URL": ""}, root=root) as process,
            httpx.AsyncClient(base_url=await process.url(), trust_env=False) as client,
        ):
            token = token or (await client.post("/api/dev/token", json={"user": "ada"})).json()["token"]
            answers.append(await client.get("/api/runs", headers={"Authorization": f"Bearer {token}"}))

    assert [answer.status_code for answer in answers] == [200, 200]
    assert (root / ".data" / NAME).stat().st_mode & 0o777 == 0o600


def test_a_kept_secret_is_the_same_each_time(tmp_path: Path) -> None:
    first = kept_secret(tmp_path / "new")

    assert len(first) >= 32
    assert kept_secret(tmp_path / "new") == first
    assert [file.name for file in (tmp_path / "new").iterdir()] == [NAME]


@pytest.mark.parametrize(("content", "bits"), [("x" * 60, 0o600), ("", 0o600), (None, 0o644)])
def test_a_secret_that_others_know_or_may_guess_is_replaced(tmp_path: Path, content: str | None, bits: int) -> None:
    before = kept_secret(tmp_path)
    file = tmp_path / NAME
    if content is not None:
        file.write_text(content)
    file.chmod(bits)

    after = kept_secret(tmp_path)

    assert after not in {before, content}
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_can_not_be_made_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert kept_secret(tmp_path / "file" / "folder") == ""
    assert os.listdir(tmp_path) == ["file"]
