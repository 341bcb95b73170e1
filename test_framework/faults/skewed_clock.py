"""A clock that is wrong: the wall clock of a process that was started with `Clock.environment`, by way of libfaketime.

Nothing in the service knows of it, and nobody else's clock is touched. The monotonic clock goes on as it should, as it does
when a machine's time is set.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from test_framework.services.fault import Fault

LIBRARIES = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib*/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
)


class Clock:
    """The wall clock of every process that got its environment."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._file = folder / "clock"
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self._set(0)

    def skewed(self, seconds: float, for_: float | None = None) -> Fault:
        """Set it ahead by so many seconds, or back."""
        return Fault(lambda: self._set(seconds), lambda: self._set(0), for_)

    def _set(self, seconds: float) -> None:
        draft = self._file.with_suffix(".draft")
        draft.write_text(f"{seconds:+.3f}\n")
        draft.replace(self._file)  # nobody reads half of it


def find_library(patterns: Iterable[str] = LIBRARIES) -> Path | str:
    """Return libfaketime, or why there is none."""
    if sys.platform != "linux":
        return "a process's clock is skewed on Linux only"
    for pattern in patterns:
        if found := sorted(Path("/").glob(pattern.lstrip("/"))):
            return found[0]
    return "libfaketime is not installed"
