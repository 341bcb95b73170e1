"""The image of the service can be used however the files of the checkout are protected."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from app.settings import ROOT
from test_framework import SERVICE
from test_framework.services import engine

pytestmark = [
    pytest.mark.needs("docker"),
    pytest.mark.timeout(900),  # an image that was never built takes its time
]


def test_an_image_of_a_private_checkout_serves_as_another_user(tmp_path: Path) -> None:
    for name in ("Dockerfile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    for package in SERVICE:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in tmp_path.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)  # as a checkout is under umask 077

    client = engine.connect()
    image, _ = client.images.build(path=str(tmp_path), rm=True)
    assert image.id is not None
    try:
        said = client.containers.run(
            image.id, ["python", "-c", "import app.main, os; print(os.getuid())"], remove=True, network_disabled=True
        )
    finally:
        client.images.remove(image.id, force=True)
        client.close()

    assert int(said) != 0
