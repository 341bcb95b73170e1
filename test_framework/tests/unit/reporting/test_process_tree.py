"""What a run uses is what its processes use."""

from __future__ import annotations

import socket
import subprocess
import sys

import psutil

from test_framework.reporting.process_tree import ProcessTree

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
