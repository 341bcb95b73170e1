"""What pytest loads of an installed kit: nothing more, unless the project's pyproject.toml has `[tool.test_framework]`."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    from test_framework.configuration import table_of

    if table_of(early_config.rootpath):
        early_config.pluginmanager.import_plugin("test_framework.plugin")
