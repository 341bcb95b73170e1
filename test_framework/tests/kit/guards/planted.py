"""A small project with planted faults under the strictest rules, and a real run of pytest over it."""

from __future__ import annotations

from pathlib import Path

from test_framework.running.planted import Ended, Planted

SECONDS = 200.0
PYPROJECT = """
[tool.pytest.ini_options]
addopts = ["--import-mode=importlib", "-p", "no:anyio", "-p", "no:schemathesis",
    "-p", "no:valkey", "-p", "no:platformdirs", "-p", "no:cacheprovider", "-p", "no:randomly"]
pythonpath = [".", "site-packages"]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "session"
asyncio_default_test_loop_scope = "session"
timeout = 30
timeout_method = "signal"
filterwarnings = ["error"]
"""


def run_planted(folder: Path, files: dict[str, str], *arguments: str, pyproject: str = "") -> Ended:
    """Write a project and run its tests in a process of their own."""
    planted = Planted(folder, SECONDS)
    for name, text in {"pyproject.toml": PYPROJECT + pyproject, **files}.items():
        planted.file(name, text)
    return planted.run("-q", *arguments)
