"""Views: each draws a `Report` in one format, and computes nothing."""

from __future__ import annotations

from collections.abc import Callable

from test_framework.reporting.model import Report, to_json
from test_framework.reporting.views import ctrf, junit, markdown, table

FORMATS: dict[str, Callable[[Report], str]] = {
    "junit": junit.write,
    "ctrf": ctrf.write,
    "csv": table.write,
    "markdown": markdown.write,
    "json": lambda report: to_json(report).decode(),
}
