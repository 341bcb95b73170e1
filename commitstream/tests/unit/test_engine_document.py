"""docs/engine.md says what the engine's settings are."""

from __future__ import annotations

import re

from commitstream import EngineSettings
from commitstream.tests.documents import TEXT, block_with

ROW = re.compile(r"^\| `([A-Z_]+)` \| (?:`(.*?)`|none) \| (.*) \|$", re.MULTILINE)


def spelled(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_the_document_lists_each_setting_as_it_is_declared() -> None:
    declared = [
        (
            EngineSettings.variable(name),
            "" if "secret" in name or "metrics_token" in name else spelled(field.default),
            field.description,
        )
        for name, field in EngineSettings.model_fields.items()
    ]

    assert ROW.findall(TEXT) == declared


def test_the_documented_application_has_about_thirty_lines() -> None:
    lines = [line for line in block_with("install(app, engine)").splitlines() if line.strip()]

    assert len(lines) <= 32
