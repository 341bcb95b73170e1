"""A fault is something that is broken for the length of a block, or for some seconds of it, and is healed whatever happens there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Fault:
    """Something that is broken within a block, `with` or `async with`, and whole again after it."""

    def __init__(self, begin: Callable[[], object], heal: Callable[[], object], for_: float | None = None) -> None:
        self._begin, self._heal, self._for = begin, heal, for_
        self._left = threading.Event()
        self._early: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self._heal()
            raise
        if self._for is not None:
            self._early = threading.Thread(
                target=self._heal_early, args=(self._for,), name="service-fault", daemon=True
            )
            self._early.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._left.set()
        if self._early is None:
            self._heal()
            return
        self._early.join()
        if self._error is not None:
            raise self._error

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.shield(asyncio.to_thread(self.__exit__, kind, value, traceback))

    def _heal_early(self, seconds: float) -> None:
        self._left.wait(seconds)
        try:
            self._heal()
        except BaseException as error:  # noqa: BLE001 - it is raised where the block ends
            self._error = error
