"""A port belongs to one living process, and to nobody once that has ended."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from test_framework import ports
from test_framework.services import port_leases
from test_framework.services.port_leases import PortError, can_bind, lease, lease_many, leased

RANGE = (23000, 23019)


@pytest.fixture(autouse=True)
def _own_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ports").mkdir()
    monkeypatch.setattr(port_leases, "folder", lambda: tmp_path / "ports")
    monkeypatch.setattr(port_leases, "ports_of_containers", set)
    monkeypatch.setattr(ports, "runtime_root", lambda: tmp_path)
    monkeypatch.setenv(port_leases.RANGE_VARIABLE, "-".join(map(str, RANGE)))


@pytest.fixture
def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_no_port_is_leased_twice() -> None:
    leases = lease_many(["port"] * 8)

    numbers = {made.port for made in leases}
    assert len(numbers) == 8
    assert all(RANGE[0] <= number <= RANGE[1] for number in numbers)
    for made in leases:
        made.release()


def test_a_released_port_is_free_again() -> None:
    with lease("mine") as made:
        assert leased()[made.port].name == "mine"

    assert leased() == {}
    assert list(port_leases.folder().iterdir()) == []


def test_a_lease_of_an_ended_process_leaves_no_file(sleeper: subprocess.Popen[bytes]) -> None:
    found = ports.allocate(["APP_PORT"], None, stable=False, holder=sleeper.pid)
    with lease("mine") as made:
        sleeper.kill()
        sleeper.wait()

        assert list(leased()) == [made.port]
        assert {file.stem for file in port_leases.folder().iterdir()} == {str(made.port)}
        assert found["APP_PORT"] != made.port


def test_a_full_range_says_so_and_gives_back_what_it_took() -> None:
    with pytest.raises(PortError, match=r"all 20 ports from 23000 to 23019 are leased or in use.*invoke ports\.list"):
        lease_many(["port"] * 21)

    assert leased() == {}


@pytest.mark.parametrize("family", [socket.AF_INET, pytest.param(socket.AF_INET6, marks=pytest.mark.needs("ipv6"))])
def test_a_port_that_somebody_listens_on_is_passed_over(family: socket.AddressFamily) -> None:
    with socket.socket(family) as taken:
        taken.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        taken.listen()

        assert not can_bind(taken.getsockname()[1])


def test_a_port_that_a_container_publishes_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_leases, "ports_of_containers", lambda: set(range(RANGE[0], RANGE[1])))

    with lease() as made:
        assert made.port == RANGE[1]


@pytest.mark.parametrize(
    ("text", "expected"), [("127.0.0.1:32768", [32768]), ("[::]:80-82", [80, 81, 82]), ("6379/tcp", []), ("", [])]
)
def test_what_the_engine_says_about_ports_is_understood(text: str, expected: list[int]) -> None:
    assert list(port_leases.ports_in(text.rpartition(":")[2])) == expected


def test_a_stable_port_is_the_same_each_time() -> None:
    with lease("APP_PORT", stable=True) as first:
        number = first.port

    with lease("APP_PORT", stable=True) as second:
        assert second.port == number


def test_a_stable_port_does_not_hang_on_a_salt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_leases, "CHECKOUT", Path("/somewhere"))

    assert next(port_leases.candidates("APP_PORT", stable=True)) == RANGE[0] + 15


def test_a_lease_on_behalf_of_another_process_lives_as_long_as_that(sleeper: subprocess.Popen[bytes]) -> None:
    ports.allocate(["APP_PORT"], None, stable=False, holder=sleeper.pid)
    assert [holder.pid for holder in leased().values()] == [sleeper.pid]

    sleeper.kill()
    sleeper.wait()

    assert leased() == {}


def test_nothing_is_leased_for_a_process_that_has_ended(ended_process: int) -> None:
    with pytest.raises(PortError, match=f"process {ended_process}: it has ended"):
        lease(holder=ended_process)


def test_an_env_file_gets_the_ports_and_keeps_its_other_lines(tmp_path: Path) -> None:
    env_file = tmp_path / ".env.dynamic"
    env_file.write_text("APP_LOG_LEVEL=info\nAPP_PORT=1\n")

    found = ports.allocate(["APP_PORT"], env_file, stable=False, holder=os.getpid())

    assert env_file.read_text() == f"APP_LOG_LEVEL=info\nAPP_PORT={found['APP_PORT']}\n"
    assert ports.check(env_file) == []


def test_checking_names_each_port_that_nobody_holds(tmp_path: Path) -> None:
    env_file = tmp_path / ".env.dynamic"
    env_file.write_text("APP_PORT=23001\n")

    assert ports.check(env_file) == ["APP_PORT=23001 is not leased by anybody who lives"]


def test_the_command_line_leases_lists_checks_and_releases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    env_file = tmp_path / ".env.dynamic"
    me = ["--holder", str(os.getpid())]

    assert ports.main(["allocate", "--count", "5", "--env-file", str(env_file), *me]) == 0
    assert ports.main(["--check", "--env-file", str(env_file)]) == 0
    assert len(leased()) == 5
    assert ports.main(["release"]) == 0

    assert leased() == {}
    assert ports.main(["--check", "--env-file", str(env_file)]) == 1
    assert "EXTRA_2_PORT" in capsys.readouterr().out


def test_a_range_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(port_leases.RANGE_VARIABLE, "all of them")

    assert ports.main(["allocate"]) == 1

    assert "is no range of ports; write it like 20000-31999" in capsys.readouterr().err
