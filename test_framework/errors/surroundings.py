"""What was going on around a failure: how the run was started, how its services look, where the test's own task stands."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from test_framework.errors.failure import Circumstances, Frame, ServiceState
from test_framework.errors.frames import Places, kept

if TYPE_CHECKING:
    import pytest

    from test_framework.service_pool import ServicePool
    from test_framework.services.service import Service

LOOK_SECONDS = 0.5
KEPT_OPTIONS = (
    "-p",
    "-o",
    "-W",
    "--timeout",
    "--override-ini",
    "--import-mode",
    "-c",
    "--rootdir",
    "--reruns",
    "--order",
)


def circumstances(config: pytest.Config, services: Sequence[Service] = ()) -> Circumstances:
    """Tell how this run was started, in this process or by the controller of its workers."""
    from test_framework.running.reality import MODE

    given: dict[str, Any] | None = getattr(config, "workerinput", None)
    seed = getattr(config.option, "randomly_seed", None)
    arguments = given["mainargv"][1:] if given else [str(word) for word in config.invocation_params.args]
    return Circumstances(
        mode=str(config.stash.get(MODE, "")),
        provider=provider(services),
        seed=seed if isinstance(seed, int) else None,
        workers=int(given["workercount"]) if given else 0,
        options=tuple(kept_options(arguments)),
    )


def provider(services: Sequence[Service]) -> str:
    """Name what SERVICES has to be for the same services; what was warm is found again by looking."""
    if services:
        return "auto" if services[0].warm else services[0].provider
    return os.environ.get("SERVICES", "")


def kept_options(arguments: Sequence[str]) -> Iterator[str]:
    """Pick the options that change how one test behaves, with their values."""
    words = iter(arguments)
    for word in words:
        name, joined, _ = word.partition("=")
        if name not in KEPT_OPTIONS and word[:2] not in ("-p", "-o", "-W"):
            continue
        yield word
        if not joined and word in KEPT_OPTIONS:
            yield next(words, "")


def pools_of(item: pytest.Item) -> list[ServicePool]:
    """Find the pools that a test has to do with: the run's, if there is one, and its fixtures' own."""
    module = sys.modules.get("test_framework.service_pool")
    if module is None:
        return []
    from test_framework.running.reality import POOL

    around = [item.config.stash.get(POOL, None), *getattr(item, "funcargs", {}).values()]
    found = {id(pool): pool for pool in around if isinstance(pool, module.ServicePool)}
    return list(found.values())


def services_of(item: pytest.Item, pools: Sequence[ServicePool]) -> list[Service]:
    """Return the services of those pools, and those that a fixture gave to the test by themselves; a test's own come first."""
    module = sys.modules.get("test_framework.service_pool")
    given = [] if module is None else getattr(item, "funcargs", {}).values()
    found = {id(service): service for service in given if module and isinstance(service, module.Service)}
    found |= {id(service): service for pool in reversed(pools) for service in pool.in_use}
    return list(found.values())


def states(services: Sequence[Service]) -> tuple[ServiceState, ...]:
    """Look at every service, side by side, for a short while."""
    found: dict[int, ServiceState] = {}

    def look(place: int, service: Service) -> None:
        try:
            seen = service.observe()
            state, detail = seen.state.value, seen.detail
        except Exception as reason:  # noqa: BLE001 - that it can't be looked at is what we learn
            down = "EngineDown" in type(reason).__name__
            state, detail = ("engine down" if down else "unknown"), str(reason)
        found[place] = ServiceState(service.name, state, detail[:120], service.provider)

    threads = [
        threading.Thread(target=look, args=(place, service), name=f"look at {service.name}", daemon=True)
        for place, service in enumerate(services)
    ]
    deadline = time.monotonic() + LOOK_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    silent = f"did not answer within {LOOK_SECONDS:g} s"
    return tuple(
        found.get(place, ServiceState(service.name, "silent", silent, service.provider))
        for place, service in enumerate(services)
    )


def ports(services: Sequence[Service]) -> tuple[int, ...]:
    """Return the ports of services; those on sockets have none."""
    found: list[int] = []
    for service in services:
        try:
            found.append(urlsplit(service.url).port or 0)
        except Exception:  # noqa: BLE001 - a container that is gone has no address
            continue
    return tuple(port for port in found if port)


def waiting(item: pytest.Item, places: Places) -> tuple[Frame, ...]:
    """Return where the test's task stands, if it was cut off while it awaited something."""
    function = getattr(inspect.unwrap(getattr(item, "obj", None) or len), "__code__", None)
    for task in tasks(item):
        frames = list(awaited(task.get_coro()))
        if any(code is function for code, _ in frames):
            return kept([places.frame(code.co_filename, line, code.co_name) for code, line in frames])
    return ()


def tasks(item: pytest.Item) -> set[asyncio.Task[Any]]:
    """Return what is pending in the loop that a test runs in."""
    request = getattr(item, "_request", None)
    runners = [name for name in getattr(item, "fixturenames", ()) if name.endswith("_scoped_runner")]
    loops = [request.getfixturevalue(name).get_loop() for name in runners if request is not None]
    return {task for loop in loops for task in asyncio.all_tasks(loop)}


def awaited(coroutine: Any) -> Iterator[tuple[Any, int]]:
    """Go down a coroutine to what it awaits, as far as Python shows it."""
    while coroutine is not None:
        for kind in ("cr", "ag", "gi"):
            frame = getattr(coroutine, f"{kind}_frame", None)
            if frame is not None:
                yield frame.f_code, frame.f_lineno
                break
        else:
            return
        coroutine = getattr(coroutine, f"{kind}_await", None) or getattr(coroutine, "gi_yieldfrom", None)
