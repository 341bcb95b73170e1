"""What a run uses is what its processes use."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from test_framework import reaper
from test_framework.reporting.process_tree import ProcessTree
from test_framework.services import usage
from test_framework.services.process_table import started_at

CONNECTS = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))):
    print("connected", flush=True)
    sys.stdin.read()
"""


def test_connections_are_those_of_all_processes_and_of_nobody_else() -> None:
    before = ProcessTree().look()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = [sys.executable, "-c", CONNECTS, str(port)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "connected\n"
            accepted, _ = listener.accept()
            with accepted:
                connected = ProcessTree().look()
                ours = len(psutil.Process().net_connections("inet"))
                theirs = len(psutil.Process(child.pid).net_connections("inet"))
                child.communicate()

    assert connected.connections - before.connections == 3
    assert connected.connections == ours + theirs
    assert connected.processes - before.processes == 1
    assert ProcessTree().look().connections == before.connections


ORPHAN = """
import subprocess, sys
held = "held = bytearray(60_000_000); print(flush=True); import sys; sys.stdin.read()"
child = subprocess.Popen([sys.executable, "-c", held], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
"""


@pytest.mark.needs("posix")
@pytest.mark.parametrize(("owner", "counted"), [(os.getpid(), True), (1, False)], ids=["this run's", "another's"])
def test_a_service_whose_parent_ended_counts_for_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: int, counted: bool
) -> None:
    monkeypatch.setattr(usage, "runtime_root", lambda: tmp_path)
    command = [sys.executable, "-c", ORPHAN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
        parent.wait(10)
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "owner").write_text(str(owner))
        registration: reaper.Registration = {"kind": "process", "pid": orphan, "started": started_at(orphan) or ""}
        reaper.register(tmp_path / "run" / "register", registration)

        used = ProcessTree().look()

    assert (60_000_000 < used.services_bytes < 120_000_000) == counted
    assert (used.services_bytes == 0) == (not counted)
