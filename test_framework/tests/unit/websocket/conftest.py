"""The service of these tests is the engine's jobs, or a server that lies."""

from __future__ import annotations

import pytest

from commitstream.settings import EngineSettings
from commitstream.tests.jobs.application import JobsSettings
from commitstream.tests.jobs.conftest import (
    _order_of_jobs,
    ada,
    bob,
    make_settings,
    migrations,
    settings,
    shared_server,
)

__all__ = ["_order_of_jobs", "ada", "bob", "make_settings", "migrations", "plain", "settings", "shared_server"]


@pytest.fixture
def plain() -> EngineSettings:
    """Settings for tokens alone: nothing is started with them."""
    return JobsSettings.model_validate({"token_secret": "a secret of this test alone, 0123456789"})
