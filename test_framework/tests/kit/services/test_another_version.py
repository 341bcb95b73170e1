"""Data that an older Postgres wrote is never lost from sight: it is named, and the lines of docs/services.md move it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from test_framework import CHECKOUT
from test_framework.services import engine
from test_framework.services.compose import ComposeProvider
from test_framework.services.containers import host_port
from test_framework.services.lifecycle import Lifecycle
from test_framework.services.probes import Address, ask_postgres
from test_framework.services.spec import service_specs
from test_framework.services.stack import Stack
from test_framework.services.state import ServiceError

DEADLINE = 25.0
MOVE_SECONDS = 100.0
HEADING = "## Another version"
INVOKE = f"""#!{sys.executable}
import sys
from pathlib import Path
sys.path.insert(0, {str(CHECKOUT)!r})
from test_framework.services.dev import DevStack
from test_framework.services.stack import Stack
assert sys.argv[1:] == ["services.up", "--only", "postgres"], sys.argv
DevStack(Stack.dev(Path.cwd()), "compose").up(("postgres",))
"""

pytestmark = [pytest.mark.needs("docker"), pytest.mark.timeout(180)]


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    client = engine.connect()
    yield client
    client.close()


@pytest.fixture
def old_volume(dev: Stack, client: docker.DockerClient) -> str:
    """A volume as compose made it when compose.yml called it `postgres`, whatever the version."""
    labels = {"com.docker.compose.project": dev.name, "com.docker.compose.volume": "postgres"}
    name: str = client.volumes.create(f"{dev.name}_postgres", labels=labels).name
    return name  # it goes with the dev stack, whose label it has


def lifecycle_of(stack: Stack) -> Lifecycle:
    return Lifecycle(stack, ComposeProvider(stack))


def ask(stack: Stack, statement: str) -> str:
    provider = ComposeProvider(stack)
    container = provider.find("postgres")
    assert container
    port = host_port(container, 5432)
    assert port
    password = provider.environment()["POSTGRES_PASSWORD"]
    return ask_postgres(Address(port=port), "postgres", password, "app", statement, 10)


def test_data_of_an_older_version_is_named_and_left_alone(dev: Stack, old_volume: str) -> None:
    with pytest.raises(ServiceError, match=f"the volume {old_volume} holds the data of an older version") as caught:
        lifecycle_of(dev).ensure("postgres", DEADLINE)

    assert "docs/services.md#another-version" in caught.value.next_command
    assert "invoke services.reset --only postgres" in caught.value.next_command
    assert ComposeProvider(dev).volumes("postgres") == [old_volume]


def test_a_reset_drops_the_data_of_an_older_version(dev: Stack, old_volume: str) -> None:
    lifecycle = lifecycle_of(dev)

    lifecycle.remove("postgres", data=True)
    lifecycle.ensure("postgres", DEADLINE)

    assert ComposeProvider(dev).volumes("postgres") == [f"{dev.name}_{service_specs()['postgres'].volume}"]


def test_redis_starts_beside_the_data_of_an_older_postgres(dev: Stack, old_volume: str) -> None:
    assert lifecycle_of(dev).ensure("redis", DEADLINE).state.runs


@pytest.mark.needs("older_postgres")
def test_a_stopped_container_of_an_older_version_is_made_again(dev: Stack, client: docker.DockerClient) -> None:
    password = ComposeProvider(dev).environment()["POSTGRES_PASSWORD"]
    older = client.containers.create(
        older_image(),
        ["postgres", "-c", f"cluster_name={dev.name}"],
        name=f"{dev.name}-postgres-1",
        labels={"com.docker.compose.project": dev.name, "com.docker.compose.service": "postgres"},
        environment=[f"POSTGRES_PASSWORD={password}", "POSTGRES_DB=app"],
        ports={"5432/tcp": ("127.0.0.1", 0)},
    )

    lifecycle_of(dev).ensure("postgres", DEADLINE)

    assert older.id not in [container.id for container in client.containers.list(all=True)]
    assert ask(dev, "SHOW server_version").startswith(service_specs()["postgres"].major)


@pytest.mark.needs("older_postgres")
def test_the_documented_lines_move_the_data(
    dev: Stack, old_volume: str, client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_as_the_older_version(client, older_image(), old_volume)
    (tmp_path / "bin").mkdir()
    shim = tmp_path / "bin" / "invoke"
    shim.write_text(INVOKE)
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}{os.pathsep}{os.environ['PATH']}")

    lines = documented_lines().replace("NAME", old_volume).replace("postgres-17", f"{dev.name}-17")
    try:
        moved = subprocess.run(
            ["sh", "-ec", lines], cwd=dev.checkout, capture_output=True, text=True, timeout=MOVE_SECONDS, check=False
        )
    finally:
        for left in client.containers.list(all=True, filters={"name": f"{dev.name}-17"}):
            left.remove(force=True)

    assert moved.returncode == 0, moved.stdout + moved.stderr
    assert ask(dev, "SELECT answer FROM kept") == "42"
    assert ask(dev, "SHOW server_version").startswith(service_specs()["postgres"].major)
    assert client.volumes.list(filters={"name": old_volume}) == [
        client.volumes.get(f"{dev.name}_{service_specs()['postgres'].volume}")
    ]


def documented_lines() -> str:
    """The lines of docs/services.md, as a reader would paste them."""
    page = (CHECKOUT / "docs" / "services.md").read_text(encoding="utf-8")
    block = re.search(r"(?:^    .*\n)+", page.partition(HEADING)[2], re.MULTILINE)
    assert block
    return textwrap.dedent(block[0])


def older_image() -> str:
    """The image that the documented lines read the old data with."""
    found = re.search(r"postgres:\S+", documented_lines())
    assert found
    return found[0]


def write_as_the_older_version(client: docker.DockerClient, image: str, volume: str) -> None:
    """Make a database in a volume as the older image does, and end its server."""
    container = client.containers.run(
        image,
        detach=True,
        environment={"POSTGRES_PASSWORD": "of-then", "POSTGRES_DB": "app"},
        volumes={volume: {"bind": "/var/lib/postgresql/data", "mode": "rw"}},
    )
    try:
        said_when_ready(container, "CREATE TABLE kept (answer int); INSERT INTO kept VALUES (42)")
        container.stop(timeout=10)
    finally:
        container.remove(force=True)


def said_when_ready(container: Container, statement: str) -> None:
    """Run a statement as soon as the server listens on the network too, which it does only when it is initialised."""
    command = ["psql", "--username=postgres", "--host=127.0.0.1", "--dbname=app", "--command", statement]
    deadline = time.monotonic() + DEADLINE
    while (done := container.exec_run(command, environment={"PGPASSWORD": "of-then"})).exit_code:
        assert time.monotonic() < deadline, done.output
        time.sleep(0.2)
