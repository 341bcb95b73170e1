"""Whoever connects just as the server stops is let in and seen off, or refused: nobody is forgotten."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from commitstream.service.server import Server, listen, server_for
from commitstream.tests.jobs.application import JobsSettings

ANSWER_SECONDS = 10.0


@pytest.fixture
def caller() -> Iterator[socket.socket]:
    with socket.socket() as calling:
        yield calling


@pytest.mark.parametrize("turns", range(5))
async def test_who_connects_as_the_server_stops_is_not_forgotten(
    settings: JobsSettings, caller: socket.socket, turns: int
) -> None:
    listener = listen(settings)
    server = server_for(FastAPI())
    await started(server, listener)

    caller.setblocking(False)
    caller.connect_ex(listener.getsockname())  # the system takes it at once, the loop in one of its next turns
    caller.settimeout(ANSWER_SECONDS)
    for _ in range(turns):
        await asyncio.sleep(0)
    await server.shutdown([listener])

    assert await asyncio.to_thread(hung_up, caller)
    gc.collect()  # a connection that was forgotten warns when it is collected, and a warning fails the test


async def started(server: Server, listener: socket.socket) -> None:
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup([listener])


def hung_up(caller: socket.socket) -> bool:
    try:
        return caller.recv(1) == b""
    except ConnectionResetError:
        return True
