"""The states that containers are found in, on a real engine, and what becomes of each: healed, or one clear error."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docker.errors import NotFound
from docker.models.containers import Container

from test_framework.services import engine
from test_framework.services.compose import ComposeProvider
from test_framework.services.containers import host_port
from test_framework.services.lifecycle import Lifecycle
from test_framework.services.probes import Address, ask_postgres
from test_framework.services.replicas import Replicas
from test_framework.services.spec import COMPOSE_FILE, service_specs
from test_framework.services.stack import Stack
from test_framework.services.state import ProviderUnavailableError, ServiceError, ServiceName, State
from test_framework.tests.kit.services.conftest import log_in
from test_framework.waiting import comes_true

DEADLINE = 20.0
BEGUN_SECONDS = 5.0
pytestmark = [pytest.mark.needs("docker"), pytest.mark.timeout(120)]  # a busy engine is slow


class Bench:
    """A dev stack in containers, with hands to break it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.provider = ComposeProvider(stack)
        self.lifecycle = Lifecycle(stack, self.provider)

    def container(self, service: ServiceName) -> Container:
        found = self.provider.find(service)
        assert found is not None
        return self.provider.client.containers.get(found["Id"])

    def state(self, container: str) -> object:
        """What the engine says of a container; None once it is gone."""
        try:
            return self.provider.client.containers.get(container).attrs["State"]
        except NotFound:
            return None

    def answers(self, service: ServiceName) -> bool:
        url = self.provider.url(service)
        return bool(log_in(service, url))

    def set_local(self, **values: str) -> None:
        file = self.stack.checkout / ".env.local"
        kept = [line for line in file.read_text().splitlines() if line.partition("=")[0] not in values]
        file.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in values.items())]) + "\n")


Break = Callable[[Bench, ServiceName], object]


@pytest.fixture
def bench(dev: Stack) -> Bench:
    return Bench(dev)


def paused(bench: Bench, service: ServiceName) -> None:
    bench.container(service).pause()


def exited_137(bench: Bench, service: ServiceName) -> None:
    bench.container(service).kill()


def exited_0(bench: Bench, service: ServiceName) -> None:
    bench.container(service).stop()


def killed_while_paused(bench: Bench, service: ServiceName) -> None:
    bench.container(service).pause()
    bench.container(service).kill()


def removed(bench: Bench, service: ServiceName) -> None:
    bench.container(service).remove(force=True)


def renamed(bench: Bench, service: ServiceName) -> None:
    bench.container(service).rename(f"{bench.stack.name}-somebody-renamed-it")


def renamed_and_stopped(bench: Bench, service: ServiceName) -> None:
    renamed(bench, service)
    exited_0(bench, service)


def half_created(bench: Bench, service: ServiceName) -> None:
    removed(bench, service)
    bench.provider.create(service)


def off_the_network(bench: Bench, service: ServiceName) -> None:
    bench.provider.client.networks.list(names=[f"{bench.stack.name}_default"])[0].disconnect(bench.container(service))


def network_gone(bench: Bench, service: ServiceName) -> None:
    network = bench.provider.client.networks.list(names=[f"{bench.stack.name}_default"])[0]
    for other in bench.provider.client.api.containers(all=True, filters={"label": bench.provider.labels()}):
        bench.provider.client.api.stop(other["Id"], timeout=5)
    network.remove()


def volume_gone(bench: Bench, service: ServiceName) -> None:
    removed(bench, service)
    bench.provider.client.volumes.get(f"{bench.stack.name}_{service_specs()[service].volume}").remove()


def all_but_the_volume_gone(bench: Bench, service: ServiceName) -> None:
    bench.provider.clear(data=False)


def hung(bench: Bench, service: ServiceName) -> None:
    os.kill(int(bench.container(service).attrs["State"]["Pid"]), signal.SIGSTOP)


def being_restarted(bench: Bench, service: ServiceName) -> None:
    in_background(bench, service, "restart", "--time", "1")


def being_removed(bench: Bench, service: ServiceName) -> None:
    in_background(bench, service, "rm", "--force")


def in_background(bench: Bench, service: ServiceName, *arguments: str) -> None:
    """Have somebody else do something to a container, and go on once it has begun."""
    container = bench.container(service)
    command = ["docker", *arguments, str(container.id)]
    threading.Thread(target=subprocess.run, args=(command,), kwargs={"capture_output": True}).start()
    before = container.attrs["State"]
    comes_true(lambda: bench.state(str(container.id)) != before, f"docker {arguments[0]}", BEGUN_SECONDS)


def password_changed_in_env_local(bench: Bench, service: ServiceName) -> None:
    bench.set_local(POSTGRES_PASSWORD="of-today", REDIS_PASSWORD="of-today")


def old_volume_with_another_password(bench: Bench, service: ServiceName) -> None:
    removed(bench, service)
    password_changed_in_env_local(bench, service)


def env_local_lost(bench: Bench, service: ServiceName) -> None:
    (bench.stack.checkout / ".env.local").unlink()


HEALED: list[Break] = [
    paused,
    exited_137,
    exited_0,
    killed_while_paused,
    removed,
    renamed,
    renamed_and_stopped,
    half_created,
    off_the_network,
    network_gone,
    volume_gone,
    all_but_the_volume_gone,
    being_restarted,
    being_removed,
    password_changed_in_env_local,
    old_volume_with_another_password,
    env_local_lost,
]
HEALED_DIFFERENTLY = [exited_137, half_created, network_gone, volume_gone, old_volume_with_another_password]


@pytest.mark.parametrize("break_it", HEALED, ids=lambda step: step.__name__)
def test_a_broken_redis_is_healed(bench: Bench, break_it: Break) -> None:
    heal(bench, "redis", break_it)


@pytest.mark.parametrize("break_it", HEALED_DIFFERENTLY, ids=lambda step: step.__name__)
def test_a_broken_postgres_is_healed(bench: Bench, break_it: Break) -> None:
    heal(bench, "postgres", break_it)


def heal(bench: Bench, service: ServiceName, break_it: Break) -> None:
    bench.lifecycle.ensure(service, DEADLINE)
    break_it(bench, service)

    began = time.monotonic()
    bench.lifecycle.ensure(service, DEADLINE)

    assert time.monotonic() - began < DEADLINE
    assert bench.answers(service)


@pytest.mark.needs("root")
def test_a_container_that_hangs_is_started_anew(bench: Bench) -> None:
    bench.lifecycle.ensure("redis", DEADLINE)
    hung(bench, "redis")

    bench.lifecycle.ensure("redis", 8)

    assert bench.answers("redis")


def test_data_outlives_whatever_happens_to_the_container(bench: Bench) -> None:
    bench.lifecycle.ensure("postgres", DEADLINE)
    tell(bench, "CREATE TABLE kept AS SELECT 42 AS answer")

    for break_it in (exited_137, old_volume_with_another_password):
        break_it(bench, "postgres")
        bench.lifecycle.ensure("postgres", DEADLINE)

    assert tell(bench, "SELECT answer FROM kept") == "42"


def test_a_database_that_was_dropped_is_made_again(bench: Bench) -> None:
    bench.lifecycle.ensure("postgres", DEADLINE)
    tell(bench, "DROP DATABASE app", database="postgres")

    bench.lifecycle.ensure("postgres", DEADLINE)

    assert bench.answers("postgres")


def tell(bench: Bench, statement: str, database: str = "app") -> str:
    port = host_port(bench.container("postgres").attrs, 5432)
    assert port is not None
    password = bench.provider.environment()["POSTGRES_PASSWORD"]
    return ask_postgres(Address(port=port), "postgres", password, database, statement, 10)


def test_one_of_two_containers_is_chosen(bench: Bench) -> None:
    bench.lifecycle.ensure("redis", DEADLINE)
    bench.provider.compose("up", "--detach", "--scale", "redis=2", "redis", service="redis")

    bench.lifecycle.ensure("redis", DEADLINE)

    assert bench.answers("redis")


def test_a_pinned_port_that_is_taken_is_named_with_where_to_unpin_it(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        bench.provider.environment()  # makes .env.local
        bench.set_local(REDIS_PORT=str(somebody.getsockname()[1]))

        with pytest.raises(ServiceError, match="its port is taken by another process") as caught:
            bench.lifecycle.ensure("redis", DEADLINE)

    assert ".env.local" in caught.value.next_command


def test_an_image_that_is_missing_makes_room_for_the_next_provider(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_image(monkeypatch, tmp_path, "127.0.0.1:1/no-such-image:1")

    assert bench.provider.missing("redis") == "the image 127.0.0.1:1/no-such-image:1 is not here"
    with pytest.raises(ProviderUnavailableError, match="its image is not here and could not be pulled") as caught:
        Lifecycle(bench.stack, ComposeProvider(bench.stack, pull=True)).ensure("redis", DEADLINE)

    assert caught.value.next_command == "docker pull 127.0.0.1:1/no-such-image:1"


def use_image(monkeypatch: pytest.MonkeyPatch, folder: Path, image: str) -> None:
    changed = use_copy(monkeypatch, folder)
    changed.write_text(changed.read_text().replace("redis:8-alpine", image))
    for module in ("compose", "compose_project", "containers"):
        monkeypatch.setattr(f"test_framework.services.{module}.service_specs", lambda: service_specs(changed))


def use_copy(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Have compose read its files from a copy, which may be changed."""
    copied = shutil.copytree(COMPOSE_FILE.parent, folder / "copied" / "compose") / COMPOSE_FILE.name
    monkeypatch.setattr("test_framework.services.compose_project.COMPOSE_FILE", copied)
    return copied


def test_an_image_that_can_not_be_built_is_not_taken_for_one_that_can_not_be_pulled(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = use_copy(monkeypatch, tmp_path)
    fails = "FROM redis:8-alpine\nCOPY nowhere /\n"  # and leaves nothing, where a RUN would leave its container
    (copied.parents[1] / "Dockerfile").write_text(fails)
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")

    why = r"the service's image can't be built: COPY failed: .* stat nowhere: file does not exist"
    with pytest.raises(ServiceError, match=why) as caught:
        Replicas(bench.stack).up()

    assert not isinstance(caught.value, ProviderUnavailableError)
    assert caught.value.next_command == "docker build ."


def test_a_stranger_s_container_that_has_our_name_is_left_alone_and_named(bench: Bench) -> None:
    name = f"{bench.stack.name}-redis-1"
    stranger = bench.provider.client.containers.create("redis:8-alpine", name=name)
    try:
        with pytest.raises(ServiceError, match="a container of somebody else has its name"):
            bench.lifecycle.ensure("redis", DEADLINE)

        stranger.reload()
    finally:
        stranger.remove(force=True, v=True)


@pytest.mark.parametrize("damage", ["rm", "truncate --size=0", "truncate --size=100"])
def test_damaged_data_is_named_with_the_command_that_helps(damage: str, bench: Bench) -> None:
    bench.lifecycle.ensure("postgres", DEADLINE)
    bench.container("postgres").exec_run(["sh", "-c", f"{damage} $PGDATA/global/pg_control"])
    exited_137(bench, "postgres")

    with pytest.raises(ServiceError, match="its data is damaged") as caught:
        bench.lifecycle.ensure("postgres", DEADLINE)

    assert caught.value.next_command == "invoke services.reset --only postgres"


def test_a_full_disk_is_named(bench: Bench) -> None:
    small = {"type": "tmpfs", "device": "tmpfs", "o": "size=12m"}
    volume = service_specs()["postgres"].volume
    labels = {"com.docker.compose.project": bench.stack.name, "com.docker.compose.volume": volume}
    bench.provider.client.volumes.create(f"{bench.stack.name}_{volume}", driver_opts=small, labels=labels)

    with pytest.raises(ServiceError, match="the disk is full") as caught:
        bench.lifecycle.ensure("postgres", DEADLINE)

    assert caught.value.next_command == "df -h, or docker system df"


class Relay:
    """Stands between us and the engine, so that the engine can go away without taking anybody else's containers along."""

    def __init__(self, folder: Path, address: str) -> None:
        self.address = address
        real = address.removeprefix("unix://") or engine.DEFAULT_SOCKET
        self.socket = folder / "engine.sock"
        code = RELAY.format(listen=str(self.socket), real=real)
        self.process = subprocess.Popen([sys.executable, "-S", "-c", code])
        comes_true(self.listens, "the relay")

    def listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as trial:
            return trial.connect_ex(str(self.socket)) == 0

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def hang(self) -> None:
        self.process.send_signal(signal.SIGSTOP)


RELAY = """
import socketserver, socket, threading
def pump(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
        b.shutdown(socket.SHUT_WR)
    except OSError:
        pass
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        real = socket.socket(socket.AF_UNIX)
        real.connect({real!r})
        thread = threading.Thread(target=pump, args=(real, self.request), daemon=True)
        thread.start()
        pump(self.request, real)
        thread.join()
class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
Server({listen!r}, Handler).serve_forever()
"""


@pytest.fixture
def relay(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    relay = Relay(tmp_path, engine.endpoint())
    engine.endpoint.cache_clear()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{relay.socket}")
    monkeypatch.setattr(engine, "COMMAND_SECONDS", 1.0)
    yield relay
    relay.process.kill()
    relay.process.wait()
    engine.endpoint.cache_clear()


def test_an_engine_that_stops_midway_is_noticed_and_found_again(relay: Relay, bench: Bench, tmp_path: Path) -> None:
    bench.lifecycle.ensure("redis", DEADLINE)
    relay.stop()

    assert bench.provider.observe("redis").state is State.ENGINE_DOWN
    with pytest.raises(ProviderUnavailableError, match="the engine does not answer"):
        bench.lifecycle.ensure("redis", DEADLINE)
    relay.socket.unlink()
    second = Relay(tmp_path, relay.address)
    try:
        bench.lifecycle.ensure("redis", DEADLINE)
        assert bench.answers("redis")
    finally:
        second.stop()


def test_an_engine_that_is_down_is_started_only_if_that_is_allowed(
    relay: Relay, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay.stop()
    relay.socket.unlink()
    started: list[Relay] = []

    def start(command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        started.append(Relay(relay.socket.parent, relay.address))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(engine, "start_commands", lambda: [["true"]])
    monkeypatch.setattr("test_framework.services.engine.subprocess.run", start)
    with pytest.raises(ProviderUnavailableError):
        bench.lifecycle.ensure("redis", DEADLINE)
    assert started == []

    monkeypatch.setenv(engine.MAY_START, "yes")
    try:
        assert bench.provider.repair("redis", bench.provider.observe("redis"))
        assert bench.provider.observe("redis").state is State.ABSENT
    finally:
        started[0].stop()


def test_an_engine_that_hangs_is_given_up_and_not_waited_for(relay: Relay, bench: Bench) -> None:
    bench.lifecycle.ensure("redis", DEADLINE)
    relay.hang()

    began = time.monotonic()
    with pytest.raises(ProviderUnavailableError):
        bench.lifecycle.ensure("redis", DEADLINE)

    assert time.monotonic() - began < DEADLINE / 2


def test_a_service_on_an_engine_of_another_machine_is_refused(dev: Stack) -> None:
    engine.endpoint.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
        lacking = ComposeProvider(dev).missing("redis")
    engine.endpoint.cache_clear()

    assert lacking == "the engine is on another machine (tcp://192.0.2.1:2375), and its ports open only there"
