"""Works on runs: drives the model, writes every event as it happens, and ends every run with `agent_completed`.

A run belongs to the process whose lease stands in its row. The lease is renewed while the process lives; when one
runs out, any other process ends the run as interrupted, so that nobody waits for a word that will never come.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import count

from opentelemetry.trace import get_current_span, use_span

from app.agents.dispatcher import Dispatcher, demand_instrumented
from app.agents.model import Model, ModelError
from app.agents.runs import LEASE_SECONDS, Origin, RunOver, Runs
from app.agents.tables import Run, RunStatus
from app.agents.tool_context import Caller
from app.agents.turn import JournaledTurn
from commitstream.db.database import CONNECTION_LOST
from commitstream.envelope import Draft
from commitstream.service import logs
from commitstream.service.problems import Draining
from commitstream.service.tracing import tracer

logger = logging.getLogger(__name__)

RUN_SECONDS = 600.0
PERSIST_SECONDS = 60.0
SILENT_SECONDS = 90.0
ENDING_SECONDS = 5.0
HEEDS_SECONDS = 1.0
HEARTBEAT_SECONDS = LEASE_SECONDS / 5


class RunsAbandoned(Exception):
    """Runs whose end this process could not write."""


class Runner:
    def __init__(self, runs: Runs, model: Model, dispatcher: Dispatcher) -> None:
        self._runs = runs
        self._model = model
        self._dispatcher = dispatcher
        self._working: dict[str, asyncio.Task[None]] = {}
        self._answering: dict[str, asyncio.Task[str]] = {}
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
            raise Draining
        run, new = await self._runs.start(origin, message, key)
        if new:
            self._begin(origin, run)
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
        await self._wait(deadline)
        for answering in self._answering.values():
            answering.cancel()
        await self._wait(ENDING_SECONDS)

    async def close(self) -> None:
        """Stop; raises `RunsAbandoned` where runs could not be ended, because the database is away."""
        if not self._draining:
            await self.drain(0)
        abandoned = sorted(self._working)
        tasks = [*self._working.values(), *([self._heart] if self._heart is not None else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=HEEDS_SECONDS)
        if abandoned:
            raise RunsAbandoned(
                f"{len(abandoned)} runs could not be ended ({', '.join(abandoned[:5])}): another process ends them as "
                f"interrupted when their leases have run out, within {LEASE_SECONDS:g} s"
            )

    async def _wait(self, deadline: float) -> None:
        if self._working:
            await asyncio.wait(list(self._working.values()), timeout=deadline)

    def _begin(self, origin: Origin, run: Run) -> None:
        logs.run_id.set(run.id)
        turn = JournaledTurn(
            self._dispatcher,
            write=lambda event: self._write(run.id, self._runs.draft(origin, event)),
            record=lambda call: self._persist(lambda: self._runs.record(origin, run.id, call)),
            caller=Caller(origin.user_id, run.id),
        )
        self._spoken[run.id] = asyncio.get_running_loop().time()
        span = tracer.start_span("invoke_agent", attributes={"gen_ai.operation.name": "invoke_agent", "run.id": run.id})
        with use_span(span):
            answering = asyncio.create_task(self._answer(run, turn), name=f"run {run.id}: answer")
            working = asyncio.create_task(self._work(origin, run, turn, answering), name=f"run {run.id}")
        self._answering[run.id] = answering
        self._working[run.id] = working
        working.add_done_callback(lambda _: self._forget(run.id))
        working.add_done_callback(lambda _: span.end())
        if self._draining:
            answering.cancel()

    def _cancel_here(self, run_id: str) -> None:
        answering = self._answering.get(run_id)
        if answering is not None and answering.cancel():
            self._cancelled.add(run_id)

    def _forget(self, run_id: str) -> None:
        self._working.pop(run_id, None)
        self._answering.pop(run_id, None)
        self._cancelled.discard(run_id)
        self._spoken.pop(run_id, None)
        self._silent.discard(run_id)

    def _raise_alarms(self) -> None:
        """Name the runs that have fallen silent, once each."""
        limit = asyncio.get_running_loop().time() - SILENT_SECONDS
        silent = {run_id for run_id, spoken in self._spoken.items() if spoken < limit}
        for run_id in silent - self._silent:
            logger.error("run %s has said nothing for %g s, and is not ended", run_id, SILENT_SECONDS)
        self._silent = silent

    async def _answer(self, run: Run, turn: JournaledTurn) -> str:
        try:
            async with asyncio.timeout(RUN_SECONDS) as limit:
                return await self._model.answer(run.message, turn)
        except TimeoutError:
            if limit.expired():
                raise ModelError(f"not done within {RUN_SECONDS:g} s") from None
            raise

    async def _work(self, origin: Origin, run: Run, turn: JournaledTurn, answering: asyncio.Task[str]) -> None:
        """See a run to its end; only the answering can be cancelled, the ending never."""
        await asyncio.wait([answering])
        status, ending = self._outcome(run, answering)
        get_current_span().set_attribute("run.status", str(status))
        await turn.close()
        try:
            await self._persist(lambda: self._runs.finish(origin, run.id, status, ending))
        except CONNECTION_LOST:
            logger.exception("run %s could not be ended: it will be when its lease has run out", run.id)

    def _outcome(self, run: Run, answering: asyncio.Task[str]) -> tuple[RunStatus, dict[str, str]]:
        try:
            return RunStatus.COMPLETED, {"answer": answering.result()}
        except asyncio.CancelledError:
            return (RunStatus.CANCELLED if run.id in self._cancelled else RunStatus.INTERRUPTED), {}
        except ModelError as error:
            return RunStatus.FAILED, {"error": str(error)}
        except RunOver as over:
            logger.warning("%s", over)
            return RunStatus.INTERRUPTED, {}
        except Exception:
            logger.exception("run %s failed", run.id)
            return RunStatus.FAILED, {"error": "the agent failed; the service's log says why"}

    async def _write(self, run_id: str, event: Draft) -> None:
        """Write an event, also when the database goes away for a while: once, whatever happens."""
        attempts = count()
        await self._persist(lambda: self._runs.log(event, again=next(attempts) > 0))
        self._spoken[run_id] = asyncio.get_running_loop().time()

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
            except Exception:
                logger.exception("leases could not be renewed")

    async def _end_abandoned(self, run: Run) -> None:
        left = {"error": "the process that worked on it went away"}
        if await self._runs.finish(Origin(run.user_id), run.id, RunStatus.INTERRUPTED, left):
            logger.warning("ended run %s, which its process %s had left", run.id, run.owner)
