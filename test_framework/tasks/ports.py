"""Ports that are leased, so that no two runs meet on one."""

from __future__ import annotations

import os
from pathlib import Path

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

PARENT = "a process id; the shell you run this from without it"


@task(
    help={
        "count": "how many",
        "env-file": "write them there too",
        "holder": PARENT,
        "stable": "the same ones each time this checkout asks",
    }
)
def allocate(context: Context, count: int = 3, env_file: str = "", holder: int = 0, stable: bool = False) -> None:
    """Lease free ports for as long as a process lives: your shell, or the one you name."""
    from test_framework import ports

    try:
        found = ports.allocate(
            ports.names_for(count), Path(env_file) if env_file else None, stable=stable, holder=holder or os.getppid()
        )
    except ports.PortError as reason:
        raise Exit(str(reason), 1) from None
    print("\n".join(f"{name}={port}" for name, port in found.items()))


@task(name="list")
def list_(context: Context) -> None:
    """List the leases that hold, and every other port of this machine that a process listens on."""
    from test_framework import ports
    from test_framework.services.occupants import listeners

    leased = ports.leased()
    lines = [f"{port:5}  {holder.name:16}  leased by process {holder.pid}" for port, holder in leased.items()]
    print("\n".join(lines) or "no port is leased")
    found = listeners()
    if found is None:
        print("this user may not see who listens; run: sudo lsof -nP -iTCP -sTCP:LISTEN")
    for port, name in sorted((found or {}).items()):
        if port not in leased:
            print(f"{port:5}  {'':16}  in use by {name}")


@task(help={"port": "which; all of this checkout's without it"})
def release(context: Context, port: int = 0) -> None:
    """Give leased ports back."""
    from test_framework import ports

    mine = [port] if port else ports.leased_here()
    strangers = ports.release(mine)
    if strangers:
        raise Exit(f"{port} is not leased by this checkout; see: invoke ports.list", 1)
    print(f"released {', '.join(map(str, mine)) or 'nothing: none was leased'}")
