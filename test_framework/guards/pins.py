"""A lock as data: its pins, and the lines that are none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.markers import InvalidMarker, Marker
from packaging.utils import NormalizedName, canonicalize_name

PIN = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^\s;]+)\s*(?:;(?P<marker>.*?))?(?P<hashes>\s--hash=.*)?$"
)


@dataclass(frozen=True)
class Pin:
    """One distribution at one version, and for which environments; `line` is where the lock says so."""

    name: NormalizedName
    version: str
    marker: Marker | None
    hashed: bool
    line: int

    @property
    def holds_here(self) -> bool:
        return self.marker is None or self.marker.evaluate()


def read_lock(text: str) -> tuple[list[Pin], list[tuple[int, str]]]:
    """Read the pins of a lock, and the lines that are no pins."""
    pins: list[Pin] = []
    others: list[tuple[int, str]] = []
    for number, line in _logical_lines(text):
        pin = _read_pin(number, line)
        if pin is None:
            others.append((number, line))
        else:
            pins.append(pin)
    return pins, others


def _read_pin(number: int, line: str) -> Pin | None:
    match = PIN.match(line)
    if match is None:
        return None
    try:
        marker = Marker(match["marker"]) if match["marker"] else None
    except InvalidMarker:
        return None
    return Pin(canonicalize_name(match["name"]), match["version"], marker, match["hashes"] is not None, number)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Join lines that end in a backslash, and leave out comments and empty ones."""
    begun, parts = 0, list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not parts and (not stripped or stripped.startswith("#")):
            continue
        begun = begun if parts else number
        parts.append(stripped.removesuffix("\\").strip())
        if not stripped.endswith("\\"):
            yield begun, " ".join(parts)
            parts = []
    if parts:
        yield begun, " ".join(parts)
