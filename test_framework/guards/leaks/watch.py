"""The look before and the look after: what is new, or changed, and belongs to nobody who outlives the test, was left.

A look that finds nothing new costs a fraction of a millisecond. Only when something is there, the loops are turned and
garbage is collected until it is gone or its time is up: ending takes a moment, and that is nobody's fault.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from test_framework.guards.leaks.arrivals import Arrivals
from test_framework.guards.leaks.calls import Calls
from test_framework.guards.leaks.clients import ClientKinds, descriptor_of, thread_of
from test_framework.guards.leaks.coroutines import Coroutines
from test_framework.guards.leaks.kinds import Left, ResourceKind
from test_framework.guards.leaks.origins import Birth, Origins, at_one_moment
from test_framework.guards.leaks.owners import Owner
from test_framework.guards.leaks.processes import Children, Descriptors, Temporary, Threads
from test_framework.guards.leaks.settings import Environment, ExceptionHandlers, Handlers, Signals, globals_of
from test_framework.guards.leaks.tasks import Tasks

QUICK, SLOW = tuple(0.001 * 2**n for n in range(6)), (0.05,) * 4
GRACE = QUICK + SLOW  # counted in waits, not by the clock: a machine that stalls takes nothing from it

Look = dict[str, dict[Hashable, Any]]


@dataclass(frozen=True)
class ResourceChange:
    """One thing that is not as it was."""

    kind: ResourceKind
    key: Hashable
    before: Any
    after: Any


class Watch:
    """Everything that is looked at, and whose it is."""

    def __init__(self, origins: Origins, arrivals: Arrivals, basetemp: Callable[[], str]) -> None:
        self.origins = origins
        self.tasks = Tasks()
        self.children = Children(origins)
        self.calls = Calls(origins.threads)
        self.clients = ClientKinds(arrivals)
        self._lasting_pools: set[int] = set()
        self._descriptors = Descriptors(origins, self._claimed, self._claimed_files)
        self.kinds: Sequence[ResourceKind] = (
            self.tasks,
            Coroutines(self.tasks),
            *self.clients.kinds,
            Threads(origins),
            self.children,
            Temporary(origins, basetemp),
            Environment(origins),
            Signals(self.calls),
            Handlers(self.calls),
            ExceptionHandlers(self.tasks.loops),
            *globals_of(origins),
            self._descriptors,
        )

    def look(self) -> Look:
        """See what there is."""
        return {kind.name: kind.now() for kind in self.kinds}

    def look_before_a_test(self) -> Look:
        """See what there is, and of the open files only whether any was opened since the last look."""
        seen = {kind.name: kind.now() for kind in self.kinds if kind is not self._descriptors}
        return {**seen, self._descriptors.name: self._descriptors.before_a_test()}

    def changes(self, before: Look, kinds: Sequence[ResourceKind] | None = None) -> list[ResourceChange]:
        """See what is not as it was: new things, and settings that differ."""
        found: list[ResourceChange] = []
        for kind in kinds or self.kinds:
            was, now = before[kind.name], kind.now()
            if was == now:
                continue
            if kind.setting:
                found += [
                    ResourceChange(kind, key, was.get(key), now.get(key))
                    for key in (was.keys() | now.keys())
                    if was.get(key) != now.get(key)
                ]
            else:
                found += [ResourceChange(kind, key, None, now[key]) for key in now if key not in was]
        return found

    def left(self, before: Look, owner: Owner, only: ResourceKind | None = None) -> list[ResourceChange]:
        """See what a test left behind, after what is ending has had its time to end."""
        return self._when_settled(
            lambda: [
                change
                for change in self.changes(before, (only,) if only else self.kinds)
                if not self._is_anothers(change, owner)
            ]
        )

    def left_by(self, owner: Owner, begun: Sequence[ResourceChange]) -> list[ResourceChange]:
        """See what is still there of what a wider fixture began, in its set-up or later."""
        return self._when_settled(
            lambda: [
                change
                for change in self._still_there(owner, begun)
                if not self._is_of_a_service(change, change.kind.birth(change.key, change.after))
                and not self._is_claimed(change)
            ]
        )

    def _still_there(self, owner: Owner, begun: Sequence[ResourceChange]) -> Iterator[ResourceChange]:
        known = {(change.kind.name, change.key): change for change in begun}
        for kind in self.kinds:
            now = kind.now()
            for key, value in now.items():
                change = known.get((kind.name, key))
                if change is not None:
                    if value == change.after:  # equal, and not the same: a process is known by its number
                        yield change
                elif not kind.setting and (born := kind.birth(key, value)) is not None and born.owner is owner:
                    yield ResourceChange(kind, key, None, value)

    def _when_settled(self, see: Callable[[], list[ResourceChange]]) -> list[ResourceChange]:
        found = see()
        for wait in GRACE:
            if all(change.kind.setting for change in found):
                break
            self.tasks.turn(wait)
            time.sleep(wait)
            if wait == QUICK[-1]:
                gc.collect()
            found = see()
        return found

    def _is_anothers(self, change: ResourceChange, owner: Owner) -> bool:
        born = change.kind.birth(change.key, change.after)
        return self._is_of_a_service(change, born) or _is_of_another_fixture(born, owner) or self._is_claimed(change)

    def is_of_another_fixture(self, change: ResourceChange, owner: Owner) -> bool:
        """Whether a fixture that outlives the test began it, and will be asked about it."""
        return _is_of_another_fixture(change.kind.birth(change.key, change.after), owner)

    def _is_of_a_service(self, change: ResourceChange, born: Birth | None) -> bool:
        """Whether it is a part of a service's run, which is looked at as a whole."""
        return born is not None and born.of_a_service and change.kind is not self.clients.services

    def _is_claimed(self, change: ResourceChange) -> bool:
        """Whether it belongs to a client that outlives whoever made it open this."""
        lasting = getattr(change.kind, "belongs_to_something_lasting", None)
        if lasting is not None and lasting(change.key):
            return True
        return any(one is change.after or thread_of(one) is change.after for one in self._lasting_connections())

    def pools_that_last(self) -> None:
        """What pools there are now may open connections while a test runs: those are theirs."""
        self._lasting_pools = self.clients.pools_now()

    def _lasting_connections(self) -> list[Any]:
        return [one for one in self.clients.connections_of(self._lasting_pools) if one is not None]

    def _claimed_files(self) -> set[str]:
        """Files of SQLite that a lasting connection has open: nobody tells their descriptors."""
        threads = {id(thread_of(connection)) for connection in self._lasting_connections()}
        return {
            path
            for path, openers in at_one_moment(self.origins.databases.items)
            if any(id(one) in threads for one in at_one_moment(openers.__iter__))
        }

    def _claimed(self) -> set[int]:
        descriptors = (descriptor_of(connection) for connection in self._lasting_connections())
        return {descriptor for descriptor in descriptors if descriptor is not None}


def _is_of_another_fixture(born: Birth | None, owner: Owner) -> bool:
    return born is not None and born.owner is not None and born.owner is not owner and born.owner.lasting


def named(changes: Sequence[ResourceChange]) -> list[Left]:
    """Describe what was left, while it is still there to be described."""
    return [
        Left(change.kind.name, change.kind.tell(change.key, change.after), change.kind.birth(change.key, change.after))
        for change in changes
    ]


def put_back(changes: Sequence[ResourceChange]) -> None:
    """End what was left, so that the next test does not meet it."""
    for change in changes:
        change.kind.clear(change.key, change.before, change.after)
