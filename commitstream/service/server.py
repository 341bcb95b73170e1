"""One server process: uvicorn, with a graceful shutdown of the service before uvicorn's own.

uvicorn would close every socket before the service could drain. So the first signal drains the service while clients
are still connected, and only then stops uvicorn; a second signal stops it at once.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import cast

import uvicorn
from fastapi import FastAPI

from commitstream.engine import Engine
from commitstream.lifecycle.cleanup import CleanupCoordinator, Priority
from commitstream.lifecycle.plan import StartupPlanError
from commitstream.lifecycle.signals import signals_routed
from commitstream.lifecycle.startup import StartupError, StartupManager
from commitstream.service import tracing
from commitstream.settings import EngineSettings
from commitstream.transports.direct_write import DirectWriteProtocol

logger = logging.getLogger(__name__)

LARGEST_CLIENT_MESSAGE = 64 * 1024
START_SECONDS = 120.0
NEXT_PORTS = 20
SEND_SECONDS = 3
CANCEL_SECONDS = 1.0
STEPS_TO_CONNECT = 2  # of the event loop: one makes the connection's transport, one calls its protocol


CreateApp = Callable[[CleanupCoordinator], FastAPI]


class CannotListen(Exception):
    """The port is taken, or this process may not listen on it."""


class Server(uvicorn.Server):
    """uvicorn's server, without its signal handlers; it stops the service even when it is forced."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._stop_accepting()
        await super().shutdown(sockets)
        if self.force_exit:
            await self.lifespan.shutdown()

    async def _stop_accepting(self) -> None:
        """Finish the connections that were just accepted: asyncio would leave them open."""
        loop = asyncio.get_running_loop()
        with suppress(NotImplementedError):  # a loop without readers accepts in another way
            for server in self.servers:
                for listener in server.sockets:
                    loop.remove_reader(listener.fileno())
        for _ in range(STEPS_TO_CONNECT):
            await asyncio.sleep(0)


def listen(settings: EngineSettings) -> socket.socket:
    """Listen on the port of the settings, or in dev on the next free one; raises CannotListen."""
    tries = NEXT_PORTS if settings.environment == "dev" and settings.port else 1
    last = min(settings.port + tries - 1, 65535)
    for port in range(settings.port, last + 1):
        try:
            return _listener(settings.host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                reason = error.strerror or str(error)
                raise CannotListen(f"can't listen on port {port} of {settings.host}: {reason}") from None
    ports = f"port {last} of {settings.host} is" if tries == 1 else f"ports {settings.port} to {last} are all"
    raise CannotListen(f"{ports} taken: stop what listens there, or set {settings.variable('port')}")


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # named as TCP, or asyncio would leave Nagle's algorithm on, which holds every second answer back for 40 ms
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def run(create_app: CreateApp, listener: socket.socket, started: Callable[[], None]) -> int:
    """Serve until a stop signal, and return the exit code.

    Args:
        create_app: makes the application, given the cleanup of the process.
        listener: the socket of `listen`.
        started: called once the service is ready.

    Returns:
        0 after a clean shutdown; 1 where the start failed, a critical resource was not closed, or a task did not stop.
    """
    with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
        code = runner.run(serve(create_app, listener, started))
        if stuck := runner.run(_cancel_remaining_tasks()):
            logger.error("tasks did not stop after cancellation: %s", ", ".join(stuck))
            logging.shutdown()
            sys.stdout.flush()
            os._exit(code or 1)  # the runner would wait for them without a timeout
    return code


async def _cancel_remaining_tasks() -> list[str]:
    """Cancel the remaining tasks; return the names of those that don't stop."""
    remaining = asyncio.all_tasks() - {asyncio.current_task()}
    for task in remaining:
        task.cancel()
    stuck = (await asyncio.wait(remaining, timeout=CANCEL_SECONDS))[1] if remaining else set()
    return sorted(task.get_name() for task in stuck)


def server_for(app: FastAPI) -> Server:
    """Return uvicorn with direct writes, without compression, which halves the throughput."""
    return Server(
        uvicorn.Config(
            app,
            ws=DirectWriteProtocol,
            ws_max_size=LARGEST_CLIENT_MESSAGE,
            ws_per_message_deflate=False,
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=SEND_SECONDS,
        )
    )


async def serve(create_app: CreateApp, listener: socket.socket, started: Callable[[], None]) -> int:
    cleanup = CleanupCoordinator.of_this_process()
    cleanup.reset()
    app = create_app(cleanup)
    engine = cast("Engine", app.state.engine)
    _trace(app)
    server = server_for(app)
    stop, forced = asyncio.Event(), asyncio.Event()

    def force(_: object) -> None:
        forced.set()
        server.should_exit = server.force_exit = True
        cleanup.force()

    with signals_routed(lambda _: stop.set(), force):
        serving = asyncio.create_task(server.serve([listener]), name="uvicorn")
        first_signal = asyncio.create_task(stop.wait(), name="wait for a signal")
        second_signal = asyncio.create_task(forced.wait(), name="wait for a second signal")
        ready = asyncio.create_task(_ready(app.state.startup, started), name="wait until ready")
        draining = None
        try:
            await _first(serving, first_signal, ready)
            if not ready.done() or ready.result():
                await _first(serving, first_signal)
            if first_signal.done() and ready.done():
                draining = asyncio.create_task(engine.drain(), name="drain")
                await _first(serving, draining, second_signal)
        finally:
            server.should_exit = True
            waiting = [task for task in (first_signal, second_signal, ready, draining) if task is not None]
            for task in waiting:
                task.cancel()
            await serving
            await asyncio.wait(waiting)
    failed = ready.done() and not ready.cancelled() and not ready.result()
    return 1 if failed else await _exit_code(cleanup)


def _trace(app: FastAPI) -> None:
    """Export traces where OpenTelemetry's settings ask for that; warn where they can't be."""
    try:
        provider = tracing.set_up(app.title)
    except tracing.TracingUnavailable as unavailable:
        logger.warning("no traces: %s", unavailable)
        return
    if provider is not None:
        app.state.cleanup.register("traces", provider.shutdown, priority=Priority.LAST, timeout=tracing.FLUSH_SECONDS)


async def _ready(startup: StartupManager, started: Callable[[], None]) -> bool:
    try:
        await startup.wait_ready(START_SECONDS)
    except (StartupError, StartupPlanError):
        return False  # logged where the start ran
    except TimeoutError as error:
        logger.error("%s", error)
        return False
    gc.freeze()  # objects of the start live as long as the process: a full collection that skips them saves 40 ms
    started()
    return True


async def _first(*tasks: asyncio.Task[object] | asyncio.Task[bool] | asyncio.Task[None]) -> None:
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def _exit_code(cleanup: CleanupCoordinator) -> int:
    return (await cleanup.run("the process ends")).exit_code


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
