"""Objects of a library that must be closed: each is noted when it is made, and asked later whether it is still open."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator
from typing import Any
from weakref import ref

from test_framework.guards.leaks.origins import Birth, birth

Made = Callable[[object, Birth], None]


class Objects:
    setting = False

    def __init__(self, name: str, still_open: Callable[[Any], bool], tell: Callable[[Any], str]) -> None:
        self.name = name
        self._open = still_open
        self._tell = tell
        self._known: dict[int, tuple[ref[Any], Birth]] = {}

    def watch(self, cls: type) -> None:
        """Note every object of this class, and of those derived from it, that is made from now on."""
        note_births(cls, self._note)

    def _note(self, made: object, begun: Birth) -> None:
        number = id(made)
        self._known[number] = ref(made, lambda _: self._known.pop(number, None)), begun

    def all(self) -> Iterator[tuple[Any, Birth]]:
        """Every object that still exists, open or not."""
        for reference, begun in list(self._known.values()):
            if (found := reference()) is not None:
                yield found, begun

    def now(self) -> dict[Hashable, Any]:
        return {id(found): found for found, _ in self.all() if self._open(found)}

    def birth(self, key: int, value: object) -> Birth | None:
        known = self._known.get(key)
        return known[1] if known else None

    def tell(self, key: object, value: object) -> str:
        return self._tell(value)

    def clear(self, key: object, before: object, after: object) -> None:
        """Closing is the work of whoever opened it."""


def note_births(cls: Any, made: Made) -> None:
    """Have `made` told of every object of a class."""
    begin = cls.__init__
    if getattr(begin, "tells", None) is not None:
        begin.tells.append(made)
        return

    @functools.wraps(begin)
    def begin_and_tell(self: object, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        for tell in tells:
            tell(self, birth(2))

    tells: list[Made] = [made]
    begin_and_tell.tells = tells  # type: ignore[attr-defined]
    cls.__init__ = begin_and_tell
