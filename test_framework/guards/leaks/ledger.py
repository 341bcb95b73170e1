"""The book of who left what: charges a test for what it left behind, and a wider fixture for what outlives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

from test_framework.guards.leaks.arrivals import Arrivals
from test_framework.guards.leaks.origins import Origins
from test_framework.guards.leaks.owners import Owner, at_work
from test_framework.guards.leaks.watch import Look, ResourceChange, Watch, named, put_back


class LeakVerdict(StrEnum):
    FAIL = "fail"
    WARN = "warn"
    OFF = "off"


@dataclass
class _Account:
    """What a wider fixture began."""

    owner: Owner
    begun: list[ResourceChange] = field(default_factory=list)


class Ledger:
    """Looks before and after each test, and around each fixture that outlives a test."""

    def __init__(self, verdict: LeakVerdict, origins: Origins, arrivals: Arrivals, basetemp: Callable[[], str]) -> None:
        self.verdict = verdict
        self.watch = Watch(origins, arrivals, basetemp)
        self._accounts: dict[object, _Account] = {}
        self._before: Look | None = None
        self._early: list[str] = []
        self._late: list[str] = []

    def begin(self, test: str) -> Owner:
        """Look at what there is before a test."""
        owner = Owner(test)
        self.watch.origins.forget_the_last_test()
        self.watch.pools_that_last()
        self._before = self.watch.look_before_a_test()
        return owner

    def end(self, owner: Owner) -> list[str]:
        """Look again, and tell what the test left behind."""
        before, self._before = self._before, None
        early, self._early = self._early, []
        return early + (self._charge(self.watch.left(before, owner)) if before is not None else [])

    def look_at_tasks(self, owner: Owner) -> None:
        """Note the tasks that are left in a loop that is about to end."""
        if self._before is not None:
            self._early = self._charge(self.watch.left(self._before, owner, only=self.watch.tasks))

    @contextmanager
    def set_up(self, fixture: object, name: str) -> Iterator[None]:
        """Charge what begins in this block to a fixture that outlives the test."""
        owner = Owner(name, lasting=True)
        account = _Account(owner)
        before = self.watch.look()
        try:
            with at_work(owner):
                yield
        finally:
            taken = {(change.kind.name, change.key) for other in self._accounts.values() for change in other.begun}
            account.begun = [
                change
                for change in self.watch.changes(before)
                if (change.kind.name, change.key) not in taken and not self.watch.is_of_another_fixture(change, owner)
            ]
            self._accounts[fixture] = account
            self._accept(account.begun)

    def _accept(self, changes: list[ResourceChange]) -> None:
        """What a wider fixture begins while a test runs is not the test's."""
        if self._before is not None:
            for change in changes:
                if change.after is None:
                    self._before[change.kind.name].pop(change.key, None)
                else:
                    self._before[change.kind.name][change.key] = change.after

    def torn_down(self, fixture: object) -> None:
        """Look what a wider fixture left behind; it is told at the end of the test that ended it."""
        account = self._accounts.pop(fixture, None)
        if account is not None:
            left = self._charge(self.watch.left_by(account.owner, account.begun))
            self._late += [f"{account.owner.name} left behind {line}" for line in left]

    def late(self) -> list[str]:
        """Tell once what wider fixtures left behind."""
        late, self._late = self._late, []
        return late

    def _charge(self, changes: list[ResourceChange]) -> list[str]:
        lines = [str(left) for left in named(changes)]
        if self.verdict is LeakVerdict.FAIL:
            put_back(changes)
        return lines


def verdict_on(lines: list[str], who: str) -> str:
    """Say it as the one who has to mend it would want to read it."""
    each = "\n".join(f"  {line}" for line in lines)
    return f"{who} left behind:\n{each}\nEnd it where it was begun, or in a fixture. See docs/testing.md, Guards."


def name_of_wider(fixture: pytest.FixtureDef[Any], root: Path) -> str | None:
    """Name a fixture that outlives a test with the line where it stands; None for one that doesn't."""
    if fixture.scope == "function":
        return None
    name = f"the {fixture.scope} fixture {fixture.argname}"
    code = getattr(fixture.func, "__code__", None)
    if code is None:
        return name
    path = Path(code.co_filename)
    return f"{name} ({path.relative_to(root) if path.is_relative_to(root) else path}:{code.co_firstlineno})"
