from __future__ import annotations

from pathlib import Path

import pytest

from test_framework.running.planted import Planted


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    return Planted(tmp_path)
