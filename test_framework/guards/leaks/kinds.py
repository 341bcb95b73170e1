"""What a kind of thing must tell, so that what is left of it can be named: the whole vocabulary of the leak check."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Protocol

from test_framework.guards.leaks.origins import Birth


@dataclass(frozen=True)
class Left:
    """One thing that was left behind."""

    kind: str
    what: str
    birth: Birth | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}" + (f", {self.birth}" if self.birth else "")


class ResourceKind(Protocol):
    """One kind of thing. A setting can also be left by being changed or taken away; other things only by being new."""

    name: str
    setting: bool

    def now(self) -> dict[Hashable, Any]:
        """List what there is, by identity."""

    def birth(self, key: Any, value: Any) -> Birth | None:
        """Say where it began, if that is known."""

    def tell(self, key: Any, value: Any) -> str:
        """Describe it as the one who left it would look for it."""

    def clear(self, key: Any, before: Any, after: Any) -> None:
        """End it, or put back what was before, so that the next test does not meet it."""
