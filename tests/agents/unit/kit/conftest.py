from __future__ import annotations

import pytest

from app.settings import Settings
from test_framework.settings import IsolatedSettings


@pytest.fixture
def plain() -> Settings:
    """Settings for tokens alone: nothing is started with them."""
    return IsolatedSettings(token_secret="a secret of this test alone, 0123456789")
