"""The states that a server of ours on this machine is found in, and what becomes of each."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from test_framework.services import cluster_cache, process_table, small_disk, stack
from test_framework.services.bundled import bundled
from test_framework.services.drivers.postgres import ask_with_driver
from test_framework.services.external import ExternalProvider
from test_framework.services.lifecycle import Lifecycle
from test_framework.services.native import native
from test_framework.services.probes import Address, ask_postgres
from test_framework.services.processes import ProcessProvider
from test_framework.services.run import Run
from test_framework.services.stack import Stack, own_directory, runtime_root
from test_framework.services.state import ProviderUnavailableError, ServiceError, ServiceName
from test_framework.tests.kit.services.conftest import log_in

DEADLINE = 10.0
Break = Callable[[ProcessProvider, ServiceName], None]


@pytest.fixture(params=["bundled", "native"])
def provider(request: pytest.FixtureRequest, run: Run, binaries_on_path: None) -> ProcessProvider:
    return bundled(run.stack) if request.param == "bundled" else native(run.stack)


@pytest.fixture
def lifecycle(run: Run, provider: ProcessProvider) -> Lifecycle:
    return Lifecycle(run.stack, provider, register=run.stack.register)


def pid_of(provider: ProcessProvider, service: ServiceName) -> int:
    record = provider.record(service)
    assert record is not None
    return record.pid


def stopped(provider: ProcessProvider, service: ServiceName) -> None:
    os.kill(pid_of(provider, service), signal.SIGSTOP)


def killed(provider: ProcessProvider, service: ServiceName) -> None:
    pid = pid_of(provider, service)
    started = process_table.started_at(pid) or ""
    os.kill(pid, signal.SIGKILL)
    assert process_table.wait_until_ended({pid: started}, 5)


def killed_while_its_children_are_stopped(provider: ProcessProvider, service: ServiceName) -> None:
    process_table.send(process_table.descendants(pid_of(provider, service)), signal.SIGSTOP)
    killed(provider, service)


def ended_in_good_order(provider: ProcessProvider, service: ServiceName) -> None:
    pid = pid_of(provider, service)
    started = process_table.started_at(pid) or ""
    os.kill(pid, signal.SIGTERM)
    assert process_table.wait_until_ended({pid: started}, 5)


def socket_removed(provider: ProcessProvider, service: ServiceName) -> None:
    provider.socket(service).unlink()


def record_lost(provider: ProcessProvider, service: ServiceName) -> None:
    provider.record_file(service).unlink()


def record_half_written(provider: ProcessProvider, service: ServiceName) -> None:
    provider.record_file(service).write_text('{"pid": 1')


def record_of_another_process(provider: ProcessProvider, service: ServiceName) -> None:
    killed(provider, service)
    record = provider.record_file(service).read_text()
    provider.record_file(service).write_text(record.replace(str(pid_of(provider, service)), str(os.getpid())))


def data_gone_after_a_crash(provider: ProcessProvider, service: ServiceName) -> None:
    killed(provider, service)
    shutil.rmtree(provider.data(service))


def folder_gone_after_a_crash(provider: ProcessProvider, service: ServiceName) -> None:
    killed(provider, service)
    shutil.rmtree(provider.home)


def pid_file_of_somebody_alive(provider: ProcessProvider, service: ServiceName) -> None:
    killed(provider, service)
    (provider.data(service) / "postmaster.pid").write_text(f"{os.getpid()}\n{provider.data(service)}\n")


def copy_interrupted(provider: ProcessProvider, service: ServiceName) -> None:
    killed(provider, service)
    data = provider.data(service)
    data.rename(data.with_name(f"{data.name}.draft"))


HEALED: list[Break] = [
    stopped,
    killed,
    killed_while_its_children_are_stopped,
    ended_in_good_order,
    socket_removed,
    record_lost,
    record_half_written,
    record_of_another_process,
    data_gone_after_a_crash,
    folder_gone_after_a_crash,
    pid_file_of_somebody_alive,
    copy_interrupted,
]


@pytest.mark.parametrize("service", ["postgres", "redis"])
@pytest.mark.parametrize("break_it", HEALED, ids=lambda step: step.__name__)
def test_a_broken_server_is_healed(lifecycle: Lifecycle, service: ServiceName, break_it: Break) -> None:
    lifecycle.ensure(service, DEADLINE)
    assert isinstance(lifecycle.provider, ProcessProvider)
    break_it(lifecycle.provider, service)

    began = time.monotonic()
    lifecycle.ensure(service, DEADLINE)

    assert time.monotonic() - began < DEADLINE
    url = lifecycle.provider.url(service)
    assert log_in(service, url)


def test_a_database_that_was_dropped_is_made_again(lifecycle: Lifecycle, provider: ProcessProvider) -> None:
    lifecycle.ensure("postgres", DEADLINE)
    ask_postgres(Address(provider.socket("postgres")), "postgres", "", "postgres", "DROP DATABASE app", 10)

    lifecycle.ensure("postgres", DEADLINE)

    assert ask_with_driver(provider.url("postgres"))


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def overwritten(file: Path) -> None:
    file.write_bytes(b"damaged " * (file.stat().st_size // 8))


def overwritten_in_part(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100] + b"damaged " + file.read_bytes()[108:])


@pytest.mark.parametrize("damage", [Path.unlink, emptied, overwritten, overwritten_in_part])
def test_damaged_data_is_named_with_the_command_that_helps(
    damage: Callable[[Path], None], lifecycle: Lifecycle, provider: ProcessProvider
) -> None:
    lifecycle.ensure("postgres", DEADLINE)
    killed(provider, "postgres")
    damage(provider.data("postgres") / "global" / "pg_control")

    with pytest.raises(ServiceError, match=r"its data (is damaged|was written by another version)") as caught:
        lifecycle.ensure("postgres", DEADLINE)

    assert caught.value.next_command == "invoke services.reset --only postgres"


@pytest.mark.needs("mount")
def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_disk, "SMALL_DISK", "8m")
    run = Run(Stack.of_a_run(storage="small"))
    lifecycle = Lifecycle(run.stack, bundled(run.stack), register=run.stack.register)

    with pytest.raises(ServiceError, match="the disk is full") as caught:
        lifecycle.ensure("postgres", DEADLINE)

    assert caught.value.next_command == "df -h, or docker system df"
    assert run.end() == []


@pytest.mark.needs("root")
@pytest.mark.parametrize("umask", [0o027, 0o077])
def test_postgres_of_root_starts_under_any_umask(umask: int, monkeypatch: pytest.MonkeyPatch) -> None:
    home = runtime_root().with_name(
        f"umask-{umask:o}-{os.getpid()}"
    )  # not below pytest's own folder, which is for root
    monkeypatch.setattr(cluster_cache, "cache_root", lambda: own_directory(home / "cache"))
    monkeypatch.setattr(stack, "runtime_root", lambda: own_directory(home))
    before = os.umask(umask)
    run = Run(Stack.of_a_run())
    try:
        lifecycle = Lifecycle(run.stack, bundled(run.stack), register=run.stack.register)

        lifecycle.ensure("postgres", DEADLINE)

        assert ask_with_driver(lifecycle.provider.url("postgres"))
    finally:
        os.umask(before)
        assert run.end() == []
        shutil.rmtree(home)


def test_a_binary_that_is_missing_makes_the_provider_unavailable(run: Run) -> None:
    provider = ProcessProvider("bundled", run.stack, lambda service: "the wheel is not installed")

    with pytest.raises(ProviderUnavailableError, match="the wheel is not installed"):
        Lifecycle(run.stack, provider).ensure("redis", DEADLINE)


def test_a_binary_that_does_not_run_is_named_with_its_last_words(run: Run, tmp_path: Path) -> None:
    binary = tmp_path / "valkey-server"
    binary.write_text("#!/bin/sh\necho 'error: it is of another machine' >&2\nexit 126\n")
    binary.chmod(0o755)
    provider = ProcessProvider("bundled", run.stack, lambda service: binary)

    with pytest.raises(ServiceError, match=r"redis does not stay up: .*it is of another machine"):
        Lifecycle(run.stack, provider).ensure("redis", DEADLINE)


@pytest.mark.parametrize(
    ("variable", "url"),
    [("REDIS_URL", "redis://127.0.0.1:1/0"), ("DATABASE_URL", "postgresql://u:p@127.0.0.1:1/app")],
)
def test_an_external_server_that_is_not_there_is_named_at_the_deadline(run: Run, variable: str, url: str) -> None:
    service: ServiceName = "redis" if variable == "REDIS_URL" else "postgres"

    with pytest.raises(ServiceError, match=f"{service} did not become healthy: after 0.3 s it is starting"):
        Lifecycle(run.stack, ExternalProvider({variable: url})).ensure(service, 0.3)


def test_an_external_server_that_refuses_us_is_named_with_its_variable(lifecycle: Lifecycle, run: Run) -> None:
    lifecycle.ensure("redis", DEADLINE)
    given = f"{lifecycle.provider.url('redis')}&username=nobody&password=wrong"

    with pytest.raises(ServiceError, match="REDIS_URL is of no use") as caught:
        Lifecycle(run.stack, ExternalProvider({"REDIS_URL": given})).ensure("redis", 2)

    assert caught.value.next_command == "correct REDIS_URL"


def test_an_external_server_is_used_as_it_is_and_left_running(lifecycle: Lifecycle, run: Run) -> None:
    lifecycle.ensure("postgres", DEADLINE)
    external = ExternalProvider({"DATABASE_URL": lifecycle.provider.url("postgres")})

    Lifecycle(run.stack, external).ensure("postgres", DEADLINE)
    with pytest.raises(ServiceError, match="not ours"):
        Lifecycle(run.stack, external).stop("postgres", DEADLINE)

    assert ask_with_driver(external.url("postgres"))
