"""One process that serves: uvicorn inside, our own signals outside.

uvicorn would close every socket before the service hears that it should end. So the first signal drains the service
while everything is still connected, and only then is uvicorn told to stop; a second signal stops it at once.
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
HEEDS_SECONDS = 1.0
TURNS_TO_ARRIVE = 2  # of the loop: one makes the connection's transport, one tells its protocol


CreateApp = Callable[[CleanupCoordinator], FastAPI]


class CannotListen(Exception):
    """The port is somebody else's, or not for us."""


class Server(uvicorn.Server):
    """uvicorn's server, which leaves the signals to us and ends the service even when it is forced."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._accept_no_more()
        await super().shutdown(sockets)
        if self.force_exit:
            await self.lifespan.shutdown()

    async def _accept_no_more(self) -> None:
        """Let whoever was accepted a moment ago arrive: asyncio forgets them, unclosed, when its server closes first."""
        loop = asyncio.get_running_loop()
        with suppress(NotImplementedError):  # a loop that has no readers accepts in another way
            for server in self.servers:
                for listener in server.sockets:
                    loop.remove_reader(listener.fileno())
        for _ in range(TURNS_TO_ARRIVE):
            await asyncio.sleep(0)


def listen(settings: EngineSettings) -> socket.socket:
    """Take the port, or in dev the next free one."""
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
    """Serve until told to stop; the exit code says whether everything was let go of in good order."""
    with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
        code = runner.run(serve(create_app, listener, started))
        if stubborn := runner.run(_end_what_is_left()):
            logger.error("abandoned, because they ignore that they are cancelled: %s", ", ".join(stubborn))
            logging.shutdown()
            sys.stdout.flush()
            os._exit(code or 1)  # the loop would wait for them for ever
    return code


async def _end_what_is_left() -> list[str]:
    """Cancel what still runs; the names of what doesn't end."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    stubborn = (await asyncio.wait(left, timeout=HEEDS_SECONDS))[1] if left else set()
    return sorted(task.get_name() for task in stubborn)


def server_for(app: FastAPI) -> Server:
    """uvicorn, set up for many sockets: bytes go straight to them, compression would halve what they get."""
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
        told = asyncio.create_task(stop.wait(), name="wait for a signal")
        told_again = asyncio.create_task(forced.wait(), name="wait for a second signal")
        ready = asyncio.create_task(_ready(app.state.startup, started), name="wait until ready")
        draining = None
        try:
            await _first(serving, told, ready)
            if not ready.done() or ready.result():
                await _first(serving, told)
            if told.done() and ready.done():
                draining = asyncio.create_task(engine.drain(), name="drain")
                await _first(serving, draining, told_again)
        finally:
            server.should_exit = True
            waiting = [task for task in (told, told_again, ready, draining) if task is not None]
            for task in waiting:
                task.cancel()
            await serving
            await asyncio.wait(waiting)
    failed = ready.done() and not ready.cancelled() and not ready.result()
    return 1 if failed else await _exit_code(cleanup)


def _trace(app: FastAPI) -> None:
    """Export traces where OpenTelemetry's settings ask for that; a service without its traces is a service all the same."""
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
    gc.freeze()  # what came up stays up: a full collection need not look through it, which takes 40 ms each time
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
