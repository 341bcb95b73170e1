"""What stacks of this project left behind, found by leases and labels alone: never by a name that merely looks like ours.

A run whose lease is held is at work and stays. What has no living owner goes: its register, and what the engine still holds
under its labels, should the register be lost.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from test_framework import reaper
from test_framework.services import cluster_cache, engine
from test_framework.services.engine_sweep import COMPOSE_PROJECT_LABEL
from test_framework.services.run import is_held, lease_of, sweep_one
from test_framework.services.stack import DEV, Stack, runtime_root
from test_framework.services.state import EngineDownError

CHECKOUT_LABEL, RUN_LABEL = "test-framework.checkout", "test-framework.run"
IMAGE_CHECKOUT_LABEL, IMAGE_RUN_LABEL = "test-framework.image.checkout", "test-framework.image.run"
NO_TAG = "<none>:<none>"


@dataclass(frozen=True)
class Leftover:
    """One thing that nobody owns any more, and how to take it away."""

    what: str
    remove: Callable[[], object]


def of_ended_runs(stack: Stack) -> Iterator[Leftover]:
    """Yield what ended runs left: folders and processes of any checkout, containers of this one."""
    for lease in sorted(runtime_root().glob("*.lease")):
        if not is_held(lease):
            yield Leftover(f"run {lease.stem}", lambda lease=lease: sweep_one(lease))  # type: ignore[misc]

    def has_ended(run: str) -> bool:
        return run != DEV and not is_held(lease_of(Stack(stack.checkout, run).directory))

    yield from on_engine(stack, has_ended)
    yield from images(stack, has_ended)


def of_the_dev_stack(stack: Stack) -> Iterator[Leftover]:
    """Yield all that belongs to this checkout's dev stack, its data included."""
    from test_framework.services.dev import DevStack

    if stack.exists:
        yield Leftover("the dev stack", lambda: DevStack(stack).down(data=True))
    yield from on_engine(stack, lambda run: run == DEV)
    yield from images(stack, lambda run: run == DEV)
    if stack.data.exists():
        yield Leftover(f"data in {stack.data}", lambda: shutil.rmtree(stack.data, ignore_errors=True))


def caches(stack: Stack) -> Iterator[Leftover]:
    """Yield what is kept between runs to save time and no other checkout uses; nothing while a run of this one uses it."""
    if any(is_held(lease) for lease in runtime_root().glob(f"{stack.digest}-*.lease")):
        return
    for entry in cluster_cache.cached():
        if not cluster_cache.used_by_others(entry, stack.checkout):
            yield Leftover(f"cache {entry}", partial(cluster_cache.drop, entry, stack.checkout))


def images(stack: Stack, unowned: Callable[[str], bool]) -> Iterator[Leftover]:
    """Yield the images of the service that this checkout built, for runs without an owner; one in use stays."""
    with contextlib.suppress(EngineDownError):
        filters = quote(json.dumps({"label": [f"{IMAGE_CHECKOUT_LABEL}={stack.checkout}"]}))
        for image in engine.look(f"/images/json?filters={filters}") or []:
            run = image["Labels"].get(IMAGE_RUN_LABEL, "")
            if not run or not unowned(run):
                continue
            tags = [tag for tag in image["RepoTags"] or [] if tag != NO_TAG]
            mine = f"{Stack(stack.checkout, run).name}-app:"
            for name in [tag for tag in tags if tag.startswith(mine)] if tags else [image["Id"]]:
                yield Leftover(f"image {name}", partial(engine.tell, "DELETE", f"/images/{name}"))


def on_engine(stack: Stack, unowned: Callable[[str], bool]) -> Iterator[Leftover]:
    """Yield compose projects of this checkout whose run has no owner."""
    with contextlib.suppress(EngineDownError):
        client = engine.connect()
        mine = {"label": f"{CHECKOUT_LABEL}={stack.checkout}"}
        containers = client.api.containers(all=True, filters=mine)
        volumes = client.api.volumes(filters=mine)["Volumes"] or []
        labels = [thing["Labels"] for thing in (*containers, *volumes)]
        projects = {label[RUN_LABEL]: label[COMPOSE_PROJECT_LABEL] for label in labels if RUN_LABEL in label}
        for run, project in sorted(projects.items()):
            if unowned(run):
                registration: reaper.Registration = {"kind": "compose", "name": project}
                yield Leftover(f"what the engine has of {project}", partial(reaper.end_on_engine, [registration]))
