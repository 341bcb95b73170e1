"""What a process has let go of, given back to the system: glibc keeps it for the next who asks, and in a run of many modules few do.

One test that fills a hundred megabytes for a moment would otherwise make the whole run as large as that, to its end.
"""

from __future__ import annotations

import gc
from collections.abc import Generator
from functools import cache
from typing import Any

import pytest

GROWN_BYTES = 16 * 1024 * 1024


class Memory:
    """This process's memory, put in order between modules."""

    def __init__(self) -> None:
        self._settled = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, bool, bool]:
        """Keep for the next module no memory that only this one has needed."""
        try:
            return (yield)
        finally:
            if nextitem is not None and nextitem.path != item.path:
                self.give_back()

    def give_back(self) -> bool:
        """Have the allocator hand over all that is free; say whether there is one here that can."""
        grown = _in_use() - self._settled > GROWN_BYTES
        if grown:  # on purpose not each time: to look through all objects takes as long as many a module
            gc.collect()
        trim = _trim()
        if trim is not None:
            trim(0)
        if grown:
            self._settled = _in_use()
        return trim is not None


def _in_use() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


@cache
def _trim() -> Any:
    import ctypes

    try:
        return getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # as on Windows, where there is no library of the process itself
        return None
