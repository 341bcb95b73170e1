"""The auction is an application as a user writes it: of the engine it imports the public names alone."""

from __future__ import annotations

import ast
from pathlib import Path

import commitstream
from commitstream.tests import auction

FOLDER = Path(next(iter(auction.__path__)))
SOURCES = ("__main__.py", "application.py", "tables.py")


def test_auction_imports_only_public_names() -> None:
    imported = [
        (node.module, name.name)
        for source in SOURCES
        for node in ast.walk(ast.parse((FOLDER / source).read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("commitstream")
        for name in node.names
    ]
    others = [module for module, _ in imported if module != "commitstream" and ".tests.auction" not in str(module)]
    public = [name for module, name in imported if module == "commitstream"]

    assert others == []
    assert "Engine" in public
    assert all(hasattr(commitstream, name) for name in public)
