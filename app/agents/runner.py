"""Works on runs: calls the model, writes the events, ends each run with `agent_completed`.

A run belongs to the process that holds the lease in its row, and renews it while it runs. When a lease expires, any
other process ends the run as interrupted, so that its watchers don't wait for events that will never come.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import count

from opentelemetry.trace import get_current_span, use_span

from app.agents.dispatcher import Dispatcher, require_event_emission
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
CANCEL_SECONDS = 1.0
HEARTBEAT_SECONDS = LEASE_SECONDS / 5


class RunsAbandoned(Exception):
    """This process could not write the end of some runs."""


class Runner:
    """Works on the runs that this process has started, and ends those of processes that died."""

    def __init__(self, runs: Runs, model: Model, dispatcher: Dispatcher) -> None:
        self._runs = runs
        self._model = model
        self._dispatcher = dispatcher
        self._working: dict[str, asyncio.Task[None]] = {}
        self._answering: dict[str, asyncio.Task[str]] = {}
        self._cancelled: set[str] = set()
        self._last_event_at: dict[str, float] = {}
        self._silent: set[str] = set()
        self._heartbeat: asyncio.Task[None] | None = None
        self._draining = False

    @property
    def busy(self) -> int:
        """The number of runs that this process works on."""
        return len(self._working)

    @property
    def silent(self) -> int:
        """The number of current runs that have produced no event for too long."""
        return len(self._silent)

    async def open(self) -> None:
        await require_event_emission(self._dispatcher)
        self._heartbeat = asyncio.create_task(self._renew_leases(), name="runner: renew leases")

    async def start(self, origin: Origin, message: str, key: str | None = None) -> Run:
        """Start a run on a message; the same key again returns the same run."""
        if self._draining:
            raise Draining
        run, new = await self._runs.start(origin, message, key)
        if new:
            self._begin(origin, run)
        return run

    async def cancel(self, user_id: str, run_id: str) -> Run | None:
        """Cancel a run of a user, in whichever process it is; None where there is no such run."""
        run = await self._runs.ask_to_cancel(user_id, run_id)
        if run is not None:
            self._cancel_here(run_id)
        return run

    async def drain(self, timeout: float) -> None:
        """Take no more runs; interrupt those that still run after the timeout."""
        self._draining = True
        await self._wait(timeout)
        for answering in self._answering.values():
            answering.cancel()
        await self._wait(ENDING_SECONDS)

    async def close(self) -> None:
        """Stop; raises `RunsAbandoned` where the database can't store the end of runs."""
        if not self._draining:
            await self.drain(0)
        abandoned = sorted(self._working)
        tasks = [*self._working.values(), *([self._heartbeat] if self._heartbeat is not None else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
        if abandoned:
            raise RunsAbandoned(
                f"{len(abandoned)} runs could not be ended ({', '.join(abandoned[:5])}): another process ends them as "
                f"interrupted when their leases expire, within {LEASE_SECONDS:g} s"
            )

    async def _wait(self, timeout: float) -> None:
        if self._working:
            await asyncio.wait(list(self._working.values()), timeout=timeout)

    def _begin(self, origin: Origin, run: Run) -> None:
        logs.run_id.set(run.id)
        turn = JournaledTurn(
            self._dispatcher,
            write=lambda event: self._write(run.id, self._runs.draft(origin, event)),
            record=lambda call: self._persist(lambda: self._runs.record(origin, run.id, call)),
            caller=Caller(origin.user_id, run.id),
        )
        self._last_event_at[run.id] = asyncio.get_running_loop().time()
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
        self._last_event_at.pop(run_id, None)
        self._silent.discard(run_id)

    def _report_silent_runs(self) -> None:
        """Log the runs that have produced no event for too long, once each."""
        limit = asyncio.get_running_loop().time() - SILENT_SECONDS
        silent = {run_id for run_id, moment in self._last_event_at.items() if moment < limit}
        for run_id in silent - self._silent:
            logger.error("run %s has produced no event for %g s", run_id, SILENT_SECONDS)
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
        """Write the end of a run; its answer can be cancelled, the writing never."""
        await asyncio.wait([answering])
        status, ending = self._outcome(run, answering)
        get_current_span().set_attribute("run.status", str(status))
        await turn.close()
        try:
            await self._persist(lambda: self._runs.finish(origin, run.id, status, ending))
        except CONNECTION_LOST:
            logger.exception("run %s could not be ended: another process ends it when its lease expires", run.id)

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
        """Write an event exactly once, with retries while the database can't be reached."""
        attempts = count()
        await self._persist(lambda: self._runs.log(event, again=next(attempts) > 0))
        self._last_event_at[run_id] = asyncio.get_running_loop().time()

    async def _persist(self, write: Callable[[], Awaitable[object]]) -> None:
        deadline = asyncio.get_running_loop().time() + PERSIST_SECONDS
        backoff = 0.05
        while True:
            try:
                await write()
                return
            except CONNECTION_LOST as error:
                if asyncio.get_running_loop().time() + backoff > deadline:
                    raise
                logger.warning("the database can't be reached, retrying in %.2f s: %s", backoff, error)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, 2.0)

    async def _renew_leases(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            self._report_silent_runs()
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
        ending = {"error": "the process that worked on it went away"}
        if await self._runs.finish(Origin(run.user_id), run.id, RunStatus.INTERRUPTED, ending):
            logger.warning("ended run %s, whose lease of process %s has expired", run.id, run.owner)
