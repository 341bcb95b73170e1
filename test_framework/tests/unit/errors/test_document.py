"""docs/troubleshooting.md says of every category what the reporter says."""

from __future__ import annotations

from test_framework.errors.categories import TABLE, Category
from test_framework.errors.document import FILE, text


def test_the_document_is_what_the_table_says() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "python -m test_framework.errors.document"


def test_every_category_is_in_the_table() -> None:
    assert list(TABLE) == list(Category)
