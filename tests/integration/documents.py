"""Reads what documents show."""

from __future__ import annotations

import re

from app.settings import ROOT


def block(file: str, language: str, holding: str) -> str:
    """The first code block of a document that holds a word."""
    text = (ROOT / file).read_text(encoding="utf-8")
    blocks = re.finditer(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return next(found.group(1) for found in blocks if holding in found.group(1))
