"""Leases on TCP ports for commands and scripts: `python -m test_framework.ports allocate --count 5 --env-file .env.dynamic`.

What a lease is stands in `test_framework.services.port_leases`. A command that ends at once leases on behalf of a process that
lives longer: its parent, unless `--holder` names another.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from test_framework import CHECKOUT
from test_framework.services.credentials import APP_PORT
from test_framework.services.drivers import drivers
from test_framework.services.port_leases import PortError, lease, lease_many, leased, leased_here, release
from test_framework.services.stack import runtime_root

__all__ = ["PortError", "allocate", "check", "lease", "lease_many", "leased", "leased_here", "names_for", "release"]


def allocate(names: Sequence[str], env_file: Path | None, *, stable: bool, holder: int) -> dict[str, int]:
    """Lease ports on behalf of another process, and write them into an env file if one is named."""
    leases = lease_many(names, stable=stable, holder=holder)
    ports = {made.holder.name: made.port for made in leases}
    if env_file is not None:
        write_env(env_file, ports)
    for made in leases:
        made.lock.release()  # the record stands for the holder from here on
    return ports


def write_env(env_file: Path, ports: dict[str, int]) -> None:
    with FileLock(runtime_root() / "env.lock"):
        lines = env_file.read_text(encoding="utf-8").splitlines() if env_file.exists() else []
        kept = [line for line in lines if line.partition("=")[0].strip() not in ports]
        draft = env_file.with_name(f"{env_file.name}.{os.getpid()}")
        draft.write_text("\n".join([*kept, *(f"{name}={port}" for name, port in ports.items())]) + "\n")
        draft.replace(env_file)


def check(env_file: Path) -> list[str]:
    """Return what is wrong with the ports in an env file: not leased by a living process, or leased for another name."""
    if not env_file.exists():
        return [f"{env_file} does not exist"]
    holders = leased()
    wrong: list[str] = []
    for line in env_file.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        if name.strip().endswith("_PORT") and value.strip().isdecimal():
            holder = holders.get(int(value))
            if holder is None:
                wrong.append(f"{name.strip()}={value.strip()} is not leased by anybody who lives")
            elif (holder.name, holder.checkout) != (name.strip(), str(CHECKOUT)):
                wrong.append(f"{name.strip()}={value.strip()} is leased for {holder.name} of {holder.checkout}")
    return wrong


def default_names() -> list[str]:
    """Return the names of the application's port and of each service's."""
    return [APP_PORT, *(driver.port_variable for driver in drivers().values())]


def names_for(count: int) -> list[str]:
    extra = (f"EXTRA_{number}_PORT" for number in range(1, count))
    return [*default_names(), *extra][:count]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m test_framework.ports", description="Lease ports that nobody else gets."
    )
    parser.add_argument("action", choices=("allocate", "list", "release"), nargs="?", default="list")
    parser.add_argument("ports", nargs="*", type=int, help="for release: which; without any, all of this checkout's")
    parser.add_argument("--count", type=int, default=len(default_names()), help="how many to lease")
    parser.add_argument("--names", help="their names in the env file, with commas between them")
    parser.add_argument("--env-file", type=Path, help="write them there, or with --check, read them")
    parser.add_argument("--stable", action="store_true", help="the same ports each time this checkout asks")
    parser.add_argument("--holder", type=int, default=os.getppid(), help="the process they are leased for (our parent)")
    parser.add_argument("--check", action="store_true", help="only check that the env file's ports are still leased")
    chosen = parser.parse_args(arguments)
    try:
        return answer(chosen)
    except PortError as reason:
        print(reason, file=sys.stderr)
        return 1


def answer(chosen: argparse.Namespace) -> int:
    if chosen.check:
        wrong = check(chosen.env_file or CHECKOUT / ".env.dynamic")
        print("\n".join(wrong) or "every port is leased", file=sys.stderr if wrong else sys.stdout)
        return 1 if wrong else 0
    if chosen.action == "allocate":
        names = chosen.names.split(",") if chosen.names else names_for(chosen.count)
        ports = allocate(names, chosen.env_file, stable=chosen.stable, holder=chosen.holder)
        print("\n".join(f"{name}={port}" for name, port in ports.items()))
    elif chosen.action == "release":
        for port in release(chosen.ports or leased_here()):
            print(f"{port} is not leased by this checkout", file=sys.stderr)
    else:
        for port, holder in leased().items():
            print(f"{port}  {holder.name:16} process {holder.pid:<8} {holder.checkout}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
