"""Reads what docs/engine.md shows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from test_framework import CHECKOUT

TEXT = (CHECKOUT / "docs" / "engine.md").read_text(encoding="utf-8")


def blocks(language: str) -> Iterator[str]:
    """Yield the code blocks of a language."""
    yield from re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def block_with(text: str) -> str:
    """Return the first Python block that holds a text."""
    return next(code for code in blocks("python") if text in code)


def command(start: str) -> str:
    """Return the first console line that starts so, without its prompt."""
    lines = (line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines())
    return next(line for line in lines if line.startswith(start))
