"""However many ask at once, each port goes to one of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from test_framework import CHECKOUT
from test_framework.services.port_leases import leased

PROCESSES, PORTS = 64, 5
ASK = f"""
import sys
from test_framework.ports import lease_many
leases = lease_many(["at once"] * {PORTS})
print(*(made.port for made in leases), flush=True)
sys.stdin.read()
"""


@pytest.mark.timeout(90)
def test_64_processes_at_once_get_320_different_ports_and_keep_none_when_killed() -> None:
    command = [sys.executable, "-c", ASK]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)
        for _ in range(PROCESSES)
    ]
    try:
        found = [int(port) for process in processes for port in (process.stdout or sys.stdin).readline().split()]
        assert len(found) == PROCESSES * PORTS
        assert len(set(found)) == len(found)
        assert set(found) <= leased().keys()
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.communicate()

    assert not leased().keys() & set(found)
