"""What a process has let go of, given back to the system: glibc keeps it for the next who asks, and in a run of many modules few do.

One test that fills a hundred megabytes for a moment would otherwise make the whole run as large as that, to its end.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def give_back() -> bool:
    """Have the allocator hand over all that is free; say whether there is one here that can."""
    trim = _trim()
    if trim is not None:
        trim(0)
    return trim is not None


@cache
def _trim() -> Any:
    try:
        return getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # as on Windows, where there is no library of the process itself
        return None
