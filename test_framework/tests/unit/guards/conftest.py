"""A small tree in a temporary folder, for guards to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from test_framework.guards.source import Source

Plant = Callable[[str, str | bytes], Source]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Write one file into the tree and read it as a guard would."""

    def write(path: str, content: str | bytes) -> Source:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return Source(tmp_path, path)

    return write
