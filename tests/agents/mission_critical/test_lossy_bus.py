"""The bus is a doorbell: whatever it loses, doubles, mixes up or makes up, sockets are shown the journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from app.settings import Settings
from commitstream import engine as engine_module
from commitstream import hub as hub_module
from commitstream.bus.base import BusAway, MemoryBus
from commitstream.envelope import Batch
from test_framework.servers import Server, in_loop
from tests.agents.clients import two_sockets
from tests.agents.context import AgentsContext
from tests.agents.mission_critical.ways import THE_FIVE
from tests.agents.rooms import RoomsServer, app_with_rooms

Deal = Callable[[int, Batch], Sequence[Batch]]


class PoorBus(MemoryBus):
    """Brings of each batch what a test deals it."""

    def __init__(self, deal: Deal, *, healthy: bool = True) -> None:
        super().__init__()
        self.healthy = healthy
        self._deal = deal
        self._count = 0

    async def publish(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            for part in split(batch):
                self._count += 1
                await super().publish(self._deal(self._count, part))


def split(batch: Batch) -> list[Batch]:
    """One batch for each event, so that each can be dealt with by itself."""
    return [Batch(batch.stream, batch.first + place, [frame]) for place, frame in enumerate(batch.frames)]


def held_back() -> Deal:
    """Bring every batch one turn late."""
    held: list[Batch] = []

    def one_late(count: int, batch: Batch) -> Sequence[Batch]:
        held.append(batch)
        return [held.pop(0)] if len(held) > 1 else []

    return one_late


def swapped() -> Deal:
    waiting: list[Batch] = []

    def in_pairs(count: int, batch: Batch) -> Sequence[Batch]:
        waiting.append(batch)
        if count % 2:
            return []
        pair, waiting[:] = [*reversed(waiting)], []
        return pair

    return in_pairs


def nobody(count: int, batch: Batch) -> Sequence[Batch]:
    return []


def away(count: int, batch: Batch) -> Sequence[Batch]:
    raise BusAway("told to be away")


def away_at_first(count: int, batch: Batch) -> Sequence[Batch]:
    if count <= 3:
        raise BusAway("told to be away")
    return [batch]


DEALS: dict[str, tuple[Callable[[], Deal], bool]] = {
    "brings everything": (lambda: lambda count, batch: [batch], True),
    "loses everything and knows": (lambda: nobody, False),
    "loses everything and does not know": (lambda: nobody, True),
    "loses every second event": (lambda: lambda count, batch: [batch] if count % 2 else [], True),
    "loses all but the last": (lambda: lambda count, batch: [batch] if count % 5 == 0 else [], True),
    "loses the last": (lambda: lambda count, batch: [] if count % 5 == 0 else [batch], True),
    "brings everything twice": (lambda: lambda count, batch: [batch, batch], True),
    "brings what is over again": (lambda: lambda count, batch: [batch, *[batch] * (count % 3)], True),
    "brings pairs the wrong way round": (swapped, True),
    "brings each event one turn late": (held_back, True),
    "is away": (lambda: away, False),
    "is away at first and then back": (lambda: away_at_first, True),
    "goes deaf in the middle": (lambda: lambda count, batch: [batch] if count < 4 else [], True),
}


@asynccontextmanager
async def served(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, kind_of_stream: str, bus: PoorBus
) -> AsyncIterator[tuple[AgentsContext, AgentsContext]]:
    """Ada on two sockets, of a service that has this bus and looks into its journal often."""
    app = app_with_rooms(settings) if kind_of_stream == "shared" else None
    monkeypatch.setattr(hub_module, "RECONCILE_SECONDS", 0.05)
    monkeypatch.setattr(hub_module, "RECONCILE_SECONDS_WITHOUT_BUS", 0.02)
    monkeypatch.setattr(engine_module, "choose_bus", lambda settings, process: bus)
    async with in_loop(settings, app) as serving:
        server: Server = serving if app is None else RoomsServer(settings, serving.url)
        async with two_sockets(server) as sockets:
            yield sockets


@pytest.mark.parametrize(("deal", "healthy"), DEALS.values(), ids=DEALS)
async def test_every_event_is_shown_once_and_in_order_by_a_bus_that(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, kind_of_stream: str, deal: Callable[[], Deal], healthy: bool
) -> None:
    async with served(settings, monkeypatch, kind_of_stream, PoorBus(deal(), healthy=healthy)) as (first, second):
        runs = [await first.start_run("how many words are these") for _ in range(3)]
        for run in runs:
            await first.wait_for_end(run.id)
            await second.wait_for_end(run.id)

        first.capture.assert_unbroken()
        second.capture.assert_same_as(first.capture)
        for run in runs:
            first.capture.assert_kinds(run.id, THE_FIVE)


async def test_what_a_bus_makes_up_for_another_user_is_shown_to_nobody(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, kind_of_stream: str
) -> None:
    """What comes over the bus is only believed where it goes on where the journal's numbers do."""
    bus = PoorBus(lambda count, batch: [batch])
    async with served(settings, monkeypatch, kind_of_stream, bus) as (ada, _), AgentsContext(ada.server) as bob:
        run = await ada.run_agent("hello")
        await MemoryBus.publish(bus, [Batch(bob.capture.stream, ada.capture.cursor + 1, ["made up"])])
        await asyncio.gather(ada.ping(), bob.ping())

        assert bob.capture.events == []
        assert bob.capture.malformed == []
        ada.capture.assert_kinds(run.id, THE_FIVE)


async def test_a_socket_that_comes_while_the_bus_is_away_is_shown_what_was_and_what_comes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, kind_of_stream: str
) -> None:
    bus = PoorBus(away, healthy=False)
    async with served(settings, monkeypatch, kind_of_stream, bus) as (ada, _):
        await ada.run_agent("before")

        async with AgentsContext(ada.server, ada.user) as late:
            run = await ada.start_run("after")
            await late.wait_for_end(run.id)
            await ada.wait_for_end(run.id)

            late.capture.assert_same_as(ada.capture)
            late.capture.assert_unbroken()
