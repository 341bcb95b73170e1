"""Works on runs: drives the model, writes every event as it happens, and ends every run with `agent_completed`.

A run belongs to the process whose lease stands in its row. The lease is renewed while the process lives; when one
runs out, any other process ends the run as interrupted, so that nobody waits for a word that will never come.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from pydantic import JsonValue

from app import logs
from app.agents.dispatcher import Dispatcher, demand_instrumented
from app.agents.models import Arguments, Model, ModelCall, ModelError
from app.agents.runs import LEASE_SECONDS, Origin, Runs
from app.db.database import CONNECTION_LOST
from app.db.models import Run, RunStatus
from app.events.envelope import Draft
from app.events.journal import Journal
from app.events.kinds import EventKind, Grammar

logger = logging.getLogger(__name__)

RUN_SECONDS = 600.0
PERSIST_SECONDS = 60.0
SILENT_SECONDS = 90.0
HEARTBEAT_SECONDS = LEASE_SECONDS / 5


class Draining(Exception):
    """This process is about to end and takes no more runs."""


class Runner:
    def __init__(self, runs: Runs, journal: Journal, model: Model, dispatcher: Dispatcher) -> None:
        self._runs = runs
        self._journal = journal
        self._model = model
        self._dispatcher = dispatcher
        self._working: dict[str, asyncio.Task[None]] = {}
        self._cancelled: set[str] = set()
        self._spoken: dict[str, float] = {}
        self._silent: set[str] = set()
        self._heart: asyncio.Task[None] | None = None
        self._draining = False

    @property
    def busy(self) -> int:
        """How many runs this process works on."""
        return len(self._working)

    @property
    def silent(self) -> int:
        """How many runs at work have said nothing for longer than they should."""
        return len(self._silent)

    async def open(self) -> None:
        await demand_instrumented(self._dispatcher)
        self._heart = asyncio.create_task(self._beat(), name="runner: renew leases")

    async def start(self, origin: Origin, message: str, key: str | None = None) -> Run:
        """Begin to work on a message; the same key twice is the same run."""
        if self._draining:
            raise Draining("this process is shutting down")
        run, new = await self._runs.start(origin, message, key)
        if new:
            task = asyncio.create_task(self._work(origin, run), name=f"run {run.id}")
            self._working[run.id] = task
            task.add_done_callback(lambda _: self._forget(run.id))
        return run

    async def cancel(self, user_id: str, run_id: str) -> Run | None:
        """Have a run of a user's ended, wherever it is worked on; None where there is no such run."""
        run = await self._runs.ask_to_cancel(user_id, run_id)
        if run is not None:
            self._cancel_here(run_id)
        return run

    async def drain(self, deadline: float) -> None:
        """Take no more runs, give those at work until the deadline, and end what is left as interrupted."""
        self._draining = True
        if self._working:
            await asyncio.wait(list(self._working.values()), timeout=deadline)
        for task in self._working.values():
            task.cancel()
        if self._working:
            await asyncio.wait(list(self._working.values()))

    async def close(self) -> None:
        await self.drain(0)
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.wait([self._heart])

    def _cancel_here(self, run_id: str) -> None:
        task = self._working.get(run_id)
        if task is not None and run_id not in self._cancelled:
            self._cancelled.add(run_id)
            task.cancel()

    def _forget(self, run_id: str) -> None:
        self._working.pop(run_id, None)
        self._spoken.pop(run_id, None)
        self._silent.discard(run_id)

    def _raise_alarms(self) -> None:
        """Name the runs that have fallen silent, once each."""
        limit = asyncio.get_running_loop().time() - SILENT_SECONDS
        silent = {run_id for run_id, spoken in self._spoken.items() if spoken < limit}
        for run_id in silent - self._silent:
            logger.error("run %s has said nothing for %g s, and is not ended", run_id, SILENT_SECONDS)
        self._silent = silent

    async def _work(self, origin: Origin, run: Run) -> None:
        turn = _JournaledTurn(self, origin, run.id)
        ending: dict[str, JsonValue] = {}
        self._spoken[run.id] = asyncio.get_running_loop().time()
        logs.run_id.set(run.id)
        try:
            async with asyncio.timeout(RUN_SECONDS):
                ending = {"answer": await self._model.answer(run.message, turn)}
            status = RunStatus.COMPLETED
        except ModelError as error:
            status, ending = RunStatus.FAILED, {"error": str(error)}
        except TimeoutError:
            status, ending = RunStatus.FAILED, {"error": f"not done within {RUN_SECONDS:g} s"}
        except asyncio.CancelledError:
            status = RunStatus.CANCELLED if run.id in self._cancelled else RunStatus.INTERRUPTED
        except Exception:
            logger.exception("run %s failed", run.id)
            status, ending = RunStatus.FAILED, {"error": "the agent failed; the service's log says why"}
        self._cancelled.discard(run.id)
        events = closing(origin, run.id, turn.grammar.last, status, ending)
        await self._persist(lambda: self._runs.finish(origin, run.id, status, events))

    async def write(self, origin: Origin, event: Draft) -> None:
        """Write an event, also when the database goes away for a while: once, whatever happens."""
        tried = False

        async def once() -> None:
            nonlocal tried
            if not (tried and await self._journal.holds(event)):
                tried = True
                await self._runs.log(origin, event)

        await self._persist(once)
        self._spoken[event.run_id] = asyncio.get_running_loop().time()

    async def call(self, tool: str, arguments: Arguments, turn: _JournaledTurn) -> JsonValue:
        return await self._dispatcher.call(tool, arguments, turn.announce)

    async def record(self, origin: Origin, run_id: str, call: ModelCall) -> None:
        """Keep a request to a model, also when the database goes away for a while."""
        await self._persist(lambda: self._runs.record(origin, run_id, call))

    async def _persist(self, write: Callable[[], Awaitable[object]]) -> None:
        patience = asyncio.get_running_loop().time() + PERSIST_SECONDS
        pause = 0.05
        while True:
            try:
                await write()
                return
            except CONNECTION_LOST as error:
                if asyncio.get_running_loop().time() + pause > patience:
                    raise
                logger.warning("the database is away, trying again in %.2f s: %s", pause, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            self._raise_alarms()
            try:
                if self._working:
                    for run_id in await self._runs.renew(list(self._working)):
                        self._cancel_here(run_id)
                for run in await self._runs.abandoned():
                    await self._end_abandoned(run)
            except CONNECTION_LOST as error:
                logger.warning("leases could not be renewed: %s", error)

    async def _end_abandoned(self, run: Run) -> None:
        origin = Origin(run.user_id)
        last = await self._journal.last_kind(run.id)
        events = closing(
            origin, run.id, last, RunStatus.INTERRUPTED, {"error": "the process that worked on it went away"}
        )
        if await self._runs.finish(origin, run.id, RunStatus.INTERRUPTED, events):
            logger.warning("ended run %s, which its process %s had left", run.id, run.owner)


def closing(
    origin: Origin, run_id: str, last: EventKind | None, status: RunStatus, ending: dict[str, JsonValue]
) -> list[Draft]:
    """The events that end a run, whatever it was doing: a call that is open is closed first."""
    grammar = Grammar(last)
    events = []
    if grammar.last is EventKind.TOOL_EXECUTING:
        grammar.accept(EventKind.TOOL_COMPLETED)
        events.append(origin.draft(run_id, EventKind.TOOL_COMPLETED, {"status": str(status)}))
    grammar.accept(EventKind.AGENT_COMPLETED)
    events.append(origin.draft(run_id, EventKind.AGENT_COMPLETED, {"status": str(status), **ending}))
    return events


class _JournaledTurn:
    """A model's turn in which every act is checked against the grammar and written before it goes on."""

    def __init__(self, runner: Runner, origin: Origin, run_id: str) -> None:
        self.grammar = Grammar(EventKind.AGENT_STARTED)
        self._runner = runner
        self._origin = origin
        self._run_id = run_id
        self._one_call = asyncio.Lock()

    async def think(self, thought: str) -> None:
        async with self._one_call:
            await self.announce(EventKind.AGENT_THINKING, {"thought": thought})

    async def call(self, tool: str, arguments: Arguments) -> JsonValue:
        async with self._one_call:
            return await self._runner.call(tool, arguments, self)

    async def record(self, call: ModelCall) -> None:
        await self._runner.record(self._origin, self._run_id, call)

    async def announce(self, kind: EventKind, payload: dict[str, JsonValue]) -> None:
        Grammar(self.grammar.last).accept(kind)
        await self._runner.write(self._origin, self._origin.draft(self._run_id, kind, payload))
        self.grammar.accept(kind)
