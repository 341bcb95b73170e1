"""The watchdog ends what is registered, all of it, and nothing else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from test_framework import reaper
from test_framework.services import process_table
from test_framework.services.run import Watchdog
from test_framework.waiting import comes_true

STARTED = "import sys, time; print('up', flush=True); time.sleep(60)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {STARTED}"
Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def start_one(code: str = STARTED) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    yield start_one
    for process in processes:
        process.kill()
        process.communicate()


def entry_for(process: subprocess.Popen[str], number: str = "SIGKILL") -> reaper.Registration:
    return {
        "kind": "process",
        "pid": process.pid,
        "started": process_table.started_at(process.pid) or "",
        "signal": signal.Signals[number],
    }


def test_a_registered_process_is_ended(tmp_path: Path, start: Start) -> None:
    process = start(STARTED)
    reaper.register(tmp_path, entry_for(process))

    left = reaper.end_registered(tmp_path)

    assert left == []
    assert process_table.started_at(process.pid) is None
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_ignores_the_polite_signal_is_killed(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "GRACE_SECONDS", 0.05)
    process = start(DEAF)
    reaper.register(tmp_path, entry_for(process, "SIGTERM"))

    reaper.end_registered(tmp_path)

    assert process_table.started_at(process.pid) is None


def test_a_stopped_process_is_ended_too(tmp_path: Path, start: Start) -> None:
    process = start(STARTED)
    reaper.register(tmp_path, entry_for(process, "SIGTERM"))
    process.send_signal(signal.SIGSTOP)

    reaper.end_registered(tmp_path)

    assert process_table.started_at(process.pid) is None


def test_a_process_that_only_has_the_same_id_is_left_alone(tmp_path: Path, start: Start) -> None:
    process = start(STARTED)
    reaper.register(tmp_path, {**entry_for(process), "started": "another time"})

    reaper.end_registered(tmp_path)

    assert process_table.started_at(process.pid) is not None


def test_what_was_struck_off_the_register_is_left_alone(tmp_path: Path, start: Start) -> None:
    process = start(STARTED)
    reaper.register(tmp_path, entry_for(process))

    reaper.unregister(tmp_path, entry_for(process))
    reaper.end_registered(tmp_path)

    assert process_table.started_at(process.pid) is not None


def test_a_paused_process_goes_on(tmp_path: Path, start: Start) -> None:
    process = start(STARTED)
    reaper.register(
        tmp_path, {"kind": "paused", "pid": process.pid, "started": process_table.started_at(process.pid) or ""}
    )
    process.send_signal(signal.SIGSTOP)

    reaper.end_registered(tmp_path)

    found = process_table.look_at(process.pid)
    assert found is not None
    assert found[1] == process_table.RUNNING


@pytest.mark.parametrize("named", [True, False])
def test_what_a_server_left_is_ended_by_its_name_and_its_folder(tmp_path: Path, start: Start, named: bool) -> None:
    home = tmp_path / "data"
    home.mkdir()
    orphan, parent = start(f"import os; os.chdir({str(home)!r}); {STARTED}"), start(STARTED)
    entry = entry_for(parent)
    entry |= {"home": str(home), "programs": [psutil.Process(orphan.pid).name() if named else "postgres"]}
    parent.kill()
    parent.wait()
    reaper.register(tmp_path / "register", entry)

    reaper.end_registered(tmp_path / "register")

    assert (process_table.started_at(orphan.pid) is None) is named


def test_the_listener_on_a_port_is_told_from_another_process(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        assert process_table.listens(os.getpid(), port)
        assert not process_table.listens(start(STARTED).pid, port)
    assert not process_table.listens(os.getpid(), port)


def test_registered_folders_and_files_are_removed(tmp_path: Path) -> None:
    folder, file = tmp_path / "folder", tmp_path / "file"
    (folder / "below").mkdir(parents=True)
    file.touch()
    register = tmp_path / "register"
    reaper.register(register, {"kind": "directory", "name": str(folder)})
    reaper.register(register, {"kind": "lease", "name": str(file)})

    left = reaper.end_registered(register)

    assert left == []
    assert not folder.exists()
    assert not file.exists()


def test_a_link_is_removed_and_not_what_it_points_to(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    link = tmp_path / "link"
    link.symlink_to(precious)
    reaper.register(tmp_path / "register", {"kind": "directory", "name": str(link)})

    reaper.end_registered(tmp_path / "register")

    assert precious.exists()
    assert not link.is_symlink()


def test_the_watchdog_acts_when_the_pipe_closes_and_ignores_signals(tmp_path: Path, start: Start) -> None:
    process = start(STARTED)
    watchdog = Watchdog(tmp_path / "register")
    reaper.register(tmp_path / "register", entry_for(process))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        comes_true(partial(ignores, watchdog.process.pid, number), f"a watchdog that ignores {number.name}")
        os.kill(watchdog.process.pid, number)
    assert process.poll() is None

    watchdog.dismiss()

    assert watchdog.process.returncode == 0
    assert process_table.started_at(process.pid) is None


def ignores(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return True
    mask = next(line for line in status.read_text().splitlines() if line.startswith("SigIgn"))
    return bool(int(mask.split()[1], 16) >> (number - 1) & 1)
