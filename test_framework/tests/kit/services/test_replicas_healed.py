"""The service's own containers, whatever state they are in: named, healed by the next command, and taken away by `down`.

What runs in them here is a stand-in for the service, so that an image is built in a moment.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docker.models.containers import Container

from test_framework import CHECKOUT
from test_framework.services import engine
from test_framework.services.drivers import service_names
from test_framework.services.replicas import PROXY_PROGRAM, Replicas
from test_framework.services.stack import Stack
from test_framework.tests.kit.services.conftest import copy_checkout, dev_stack, invoke
from test_framework.waiting import comes_true

pytestmark = [pytest.mark.needs("docker"), pytest.mark.timeout(300)]
SECONDS = 120
STAND_IN = """
WORKDIR /tmp
USER 10001:10001
HEALTHCHECK --interval=1s --timeout=2s --start-period=5s --retries=2 CMD test ! -e /dev/shm/sick
CMD ["python3", "-m", "http.server", "8000"]
"""


def write_dockerfile(checkout: Path) -> None:
    bases = [line for line in (CHECKOUT / "Dockerfile").read_text().splitlines() if line.startswith("FROM ")]
    (checkout / "Dockerfile").write_text(f"{bases[-1]}\n{STAND_IN}")


@contextlib.contextmanager
def stand_in(folder: Path) -> Iterator[Stack]:
    """Yield the dev stack of a checkout whose service is a stand-in."""
    write_dockerfile(copy_checkout(folder))
    with dev_stack(folder) as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_BUILDKIT", "0")  # the builder that every engine has
        yield stack
    engine.tell("DELETE", f"/images/{stack.name}-app?force=true")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stand_in(tmp_path_factory.mktemp("one")) as stack:
        yield stack


def run(stack: Stack, *arguments: str) -> tuple[int, str]:
    command = invoke(stack, *arguments)
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=SECONDS, check=False)
    return done.returncode, done.stdout + done.stderr


def states(stack: Stack) -> dict[str, str]:
    code, printed = run(stack, "services.status", "--json")
    assert code == 0, printed
    return {one["service"]: one["state"] for one in json.loads(printed)}


@pytest.fixture
def app(stack: Stack) -> Stack:
    """That stack with its replicas up."""
    code, printed = run(stack, "services.app")
    assert code == 0, printed
    return stack


@pytest.fixture
def broken(app: Stack) -> Iterator[Callable[[str], Container]]:
    """Return a function that finds a container of a service of that stack."""
    client = engine.connect()

    def find(service: str) -> Container:
        labels = [f"com.docker.compose.project={app.name}", f"com.docker.compose.service={service}"]
        found: Container = client.containers.list(filters={"label": labels})[0]
        return found

    yield find
    client.close()


def paused(container: Container) -> None:
    container.pause()


def killed(container: Container) -> None:
    container.kill()


def stopped(container: Container) -> None:
    container.stop(timeout=1)


def removed(container: Container) -> None:
    container.remove(force=True)


def unhealthy(container: Container) -> None:
    assert container.exec_run(["touch", "/dev/shm/sick"]).exit_code == 0
    comes_true(lambda: health(container) == "unhealthy", "the engine's health check", 30)


def health(container: Container) -> object:
    container.reload()
    return container.attrs["State"]["Health"]["Status"]


def off_the_network(container: Container) -> None:
    assert container.client is not None
    for network in container.attrs["NetworkSettings"]["Networks"].values():
        container.client.api.disconnect_container_from_network(str(container.id), network["NetworkID"])


def half_created(container: Container) -> None:
    image, labels = container.attrs["Image"], container.labels
    container.remove(force=True)
    assert container.client is not None
    container.client.containers.create(image, name=container.name, labels=labels)


def private_program(container: Container) -> None:
    PROXY_PROGRAM.chmod(0o600)
    container.remove(force=True)


BREAKS = [
    *((step, "app") for step in (paused, killed, stopped, removed, unhealthy, off_the_network, half_created)),
    *((step, "proxy") for step in (paused, killed, private_program)),
]


def answers(stack: Stack) -> bool:
    with urllib.request.urlopen(Replicas(stack).address(), timeout=10) as answer:
        return bool(answer.status == 200)


@pytest.mark.parametrize(("break_it", "service"), BREAKS)
def test_the_next_command_heals_a_part_of_the_app(
    break_it: Callable[[Container], None], service: str, app: Stack, broken: Callable[[str], Container]
) -> None:
    break_it(broken(service))
    command = "services.up" if break_it is paused else "services.app"

    code, printed = run(app, command)

    assert code == 0, printed
    found = states(app)
    assert [name.partition("-")[0] for name in found] == ["postgres", "redis", "app", "app", "proxy"]
    assert set(found.values()) == {"healthy"}
    assert answers(app)


def test_a_broken_replica_is_named(app: Stack, broken: Callable[[str], Container]) -> None:
    assert "proxy-1 is healthy" in run(app, "doctor")[1]
    container = broken("app")
    container.pause()

    name = f"app-{container.labels['com.docker.compose.container-number']}"
    assert states(app)[name] == "paused"
    assert f"{name} is paused → invoke services.app" in run(app, "doctor")[1]
    assert f"--- {name}" in run(app, "services.logs", "--only", "app")[1]


@pytest.mark.parametrize("alone", [False, True], ids=["all", "replicas alone"])
def test_down_takes_the_app_away(alone: bool, app: Stack, broken: Callable[[str], Container]) -> None:
    broken("app").pause()
    for service in service_names() if alone else ():
        broken(service).remove(force=True)

    code, printed = run(app, "services.down")

    assert (code, "proxy-1: compose: ended" in printed) == (0, True), printed
    assert states(app) == dict.fromkeys(service_names(), "absent")
    assert ended(app) == []


def ended(stack: Stack) -> list[str]:
    """Name what the engine still has of a stack."""
    return [one["Names"][0] for one in Replicas(stack).provider.listed("/containers/json?all=true&")]


def test_the_app_of_a_checkout_takes_a_port_that_is_free(app: Stack, tmp_path: Path) -> None:
    with stand_in(tmp_path) as other:
        code, printed = run(other, "services.app")

        assert code == 0, printed
        assert "APP_PORT=8000" in (tmp_path / ".env.local").read_text()
        assert Replicas(other).address() in printed
        assert Replicas(other).address() != Replicas(app).address()
        assert answers(other)
        assert answers(app)


@pytest.mark.parametrize("holder", ["process", "container"])
def test_a_pinned_port_is_taken_or_refused(holder: str, app: Stack, tmp_path: Path) -> None:
    with stand_in(tmp_path) as other, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1] if holder == "process" else Replicas(app).provider.parts()[-1].port
        (tmp_path / ".env.local").write_text(f"APP_PORT={port}\n")

        code, printed = run(other, "services.app")

        assert code == 1
        assert f"APP_PORT={port} is taken" in printed
        assert "next: clear APP_PORT in .env.local, then invoke services.app" in printed
        assert ended(other) == []
        if holder == "process":
            listener.close()
            code, printed = run(other, "services.app")
            assert code == 0, printed
            assert Replicas(other).address() == f"http://127.0.0.1:{port}"
