"""The image as it runs in production: two replicas behind a proxy, on Postgres and Redis in containers of this test's own."""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from app.settings import Settings
from test_framework.services import engine
from test_framework.services.replicas import Replicas
from test_framework.services.run import Run
from test_framework.services.stack import Stack
from test_framework.services.state import State
from test_framework.settings import isolated_settings
from test_framework.users import TestUserContext
from tests.agents.client import AgentsClient
from tests.agents.context import AgentsContext

pytestmark = [
    pytest.mark.needs("docker"),
    pytest.mark.timeout(900),  # an image that was never built takes its time
]

RUNS = 6
ASKED, ENTIRE = 3, "all that was said"
NUMBERS = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/metrics', timeout=2).read().decode())"


@dataclass
class Behind:
    """What stands behind the proxy."""

    settings: Settings
    url: str
    client: Any
    stack: Stack
    replicas: Replicas

    @property
    def containers(self) -> list[Any]:
        """The replicas as they are now: healing may have replaced one."""
        labels = [f"com.docker.compose.project={self.stack.name}", "com.docker.compose.service=app"]
        found: list[Any] = self.client.containers.list(filters={"label": labels})
        return found

    def number(self, container: Any, name: str) -> float:
        """One of a replica's own metrics, which it tells to its own loopback alone."""
        said = said_in(container, "python", "-c", NUMBERS)
        found = [float(line.split()[1]) for line in said.splitlines() if line.startswith(f"{name} ")]
        assert found, f"{name} is not among the metrics of {container.name}: {said!r}"
        return found[0]


def said_in(container: Any, *command: str) -> str:
    """What a command says in a container; asked again where the engine lost it, as it does once in some hundred (moby#27289)."""
    in_order = f"exec 2>&1; {shlex.join(command)} && echo {ENTIRE}"  # of two streams, the engine tells either first
    for _ in range(ASKED):
        code, said = container.exec_run(["sh", "-c", in_order])
        text: str = said.decode().rstrip()
        assert code == 0, text
        if text.endswith(ENTIRE):
            return text.removesuffix(ENTIRE)
    raise AssertionError(f"the engine lost what {command} said, {ASKED} times")


@pytest.fixture(scope="module")
def behind() -> Iterator[Behind]:
    client = engine.connect()
    secret = secrets.token_urlsafe(48)
    stack = Stack.of_a_run()
    run = Run(stack)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("APP_TOKEN_SECRET", secret)
        patch.setenv("APP_ALLOWED_HOSTS", "127.0.0.1,localhost,replicas.example")
        patch.setenv("DOCKER_BUILDKIT", "0")  # the builder that every engine has
        replicas = Replicas(stack)
        try:
            url = replicas.up()
            settings = isolated_settings(token_secret=secret, environment="production")
            yield Behind(settings, url, client, stack, replicas)
        finally:
            left = run.end()
            for image in client.images.list(name=f"{stack.name}-app"):
                client.images.remove(image.tags[0], force=True)
            client.close()
    assert left == []


def test_replicas_are_nobody_in_particular_on_a_root_they_can_not_write_and_healthy(behind: Behind) -> None:
    assert len(behind.containers) == 2
    for container in behind.containers:
        container.reload()
        assert container.attrs["State"]["Health"]["Status"] == "healthy"
        assert container.attrs["HostConfig"]["ReadonlyRootfs"] is True
        who = said_in(container, "python", "-c", "import os; print(os.getuid(), os.getgid())")
        assert who.split() == ["10001", "10001"]
        assert "refused" in said_in(container, "sh", "-c", "touch /service/x || echo refused")


async def test_the_replicas_get_the_settings_of_the_environment(behind: Behind) -> None:
    async with httpx.AsyncClient(base_url=behind.url, trust_env=False) as client:
        known = await client.get("/health/live", headers={"Host": "replicas.example"})
        unknown = await client.get("/health/live", headers={"Host": "other.example"})

    assert (known.status_code, unknown.status_code) == (200, 400)


async def test_a_migration_in_the_image_finds_nothing_to_do(behind: Behind) -> None:
    assert "as before" in said_in(behind.containers[0], "python", "-m", "app", "migrate")


async def test_the_events_of_a_run_at_any_replica_reach_a_socket_at_any_other(behind: Behind) -> None:
    user = TestUserContext.of(behind.settings)
    before = [behind.number(container, "events_committed_total") for container in behind.containers]
    async with AsyncExitStack() as stack:
        watching = [await stack.enter_async_context(AgentsContext(behind, user)) for _ in range(4)]
        runs = []
        for _ in range(RUNS):  # each over a connection of its own, which the proxy hands to the next replica
            async with AgentsClient(behind.url, user.token) as client:
                runs.append(await client.start_run("how many words are these"))
        for ada in watching:
            for run in runs:
                await ada.wait_for_end(run.id)
            ada.capture.assert_unbroken()
        watchers = [behind.number(container, "watchers") for container in behind.containers]
        after = [behind.number(container, "events_committed_total") for container in behind.containers]
        committed = [number - earlier for number, earlier in zip(after, before, strict=True)]

    assert sum(watchers) == len(watching)
    assert all(watchers), f"one replica has all the sockets: {watchers}"
    assert sum(committed) == 5 * RUNS
    assert all(committed), f"one replica has made all the runs: {committed}"
    assert len({json.dumps([event.seq for event in ada.capture.events]) for ada in watching}) == 1


async def test_metrics_are_not_told_to_whoever_reaches_the_port(behind: Behind) -> None:
    async with AgentsClient(behind.url) as client:
        answer = await client.request("GET", "/metrics")

    assert answer.status_code == 403


async def test_a_paused_replica_is_healed(behind: Behind) -> None:
    behind.containers[0].pause()

    url = behind.replicas.heal()

    assert [part.state for part in behind.replicas.provider.parts()] == [State.HEALTHY] * 3
    async with AgentsClient(url, TestUserContext.of(behind.settings).token) as client:
        await client.start_run("how many words are these")
