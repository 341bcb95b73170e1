"""What the engine holds of a run is removed: containers, networks and volumes, by name or by compose project."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import quote

from test_framework.services import engine
from test_framework.services.state import EngineDownError

SECONDS = 20.0
LOOKS, BETWEEN_LOOKS = 2, 0.1  # the engine may still be at work for a client that was killed
COMPOSE_PROJECT_LABEL = "com.docker.compose.project"
ABREAST = 8


@dataclass(frozen=True)
class Wanted:
    """Things to remove: one by its kind and name, or all that a compose project made."""

    kind: str
    name: str

    def filters(self, kind: str) -> str | None:
        """Return how the engine is asked for those of this kind, if any are wanted."""
        if self.kind == "compose":
            return json.dumps({"label": [f"{COMPOSE_PROJECT_LABEL}={self.name}"]})
        return json.dumps({"name": [f"^/?{self.name}$"]}) if self.kind == kind else None


def sweep(wanted: Sequence[Wanted]) -> bool:
    """Remove all that is wanted, until several looks in a row find nothing; say whether that came about."""
    deadline = time.monotonic() + SECONDS
    quiet = 0
    try:
        while quiet < LOOKS and time.monotonic() < deadline:
            containers, others = find(wanted)
            side_by_side([lambda path=path: engine.tell("DELETE", path) for path in containers])  # type: ignore[misc]
            side_by_side([lambda path=path: engine.tell("DELETE", path) for path in others])  # type: ignore[misc]
            quiet = 0 if containers or others else quiet + 1
            if 0 < quiet < LOOKS:
                time.sleep(BETWEEN_LOOKS)
    except EngineDownError:
        return False  # what a silent engine holds stays registered, and the next run looks again
    return quiet >= LOOKS


def find(wanted: Sequence[Wanted]) -> tuple[list[str], list[str]]:
    """Return where each thing is removed: containers, whatever their state, and what can go only after them."""

    def ask(kind: str, path: str) -> list[dict[str, str]]:
        found: list[dict[str, str]] = []
        for one in wanted:
            if filters := one.filters(kind):
                answer = engine.look(f"{path}filters={quote(filters)}") or []
                found += answer.get("Volumes") or [] if isinstance(answer, dict) else answer
        return found

    containers = [
        f"/containers/{one['Id']}?force=true&v=true" for one in ask("container", "/containers/json?all=true&")
    ]
    networks = [f"/networks/{one['Id']}" for one in ask("network", "/networks?")]
    volumes = [f"/volumes/{one['Name']}?force=true" for one in ask("volume", "/volumes?")]
    return containers, networks + volumes


def side_by_side(steps: Sequence[Callable[[], object]]) -> None:
    """Take steps at once, since the engine takes its time for each."""
    if steps:
        with ThreadPoolExecutor(ABREAST) as threads:
            for _ in threads.map(lambda step: step(), steps):
                pass
