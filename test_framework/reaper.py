"""A tiny process that outlives its run: it reads a pipe, and when the last writer is gone it ends what was registered.

A run keeps a register, a folder with one small file per thing it made, written before that thing can leak. `end_registered`
empties it, once nobody makes anything more: the run itself calls it on a good day, this file as a detached watchdog on a bad one,
and the next run on the worst.
The watchdog imports nothing but the standard library until there is something to end, and touches nothing that is not registered.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypedDict

from test_framework.services.gate import shut_gate
from test_framework.services.process_table import (
    descendants,
    is_running,
    release_shared_memory,
    send,
    servers_at_work_in,
    started_at,
    wait_until_ended,
)

Kind = Literal["paused", "process", "compose", "container", "network", "volume", "mount", "directory", "lease"]

GRACE_SECONDS = 0.5  # to end by itself
KILLED_SECONDS = 5.0  # nobody outlives that signal, but on a busy machine it takes its time
PATIENCE_SECONDS, WATCHDOGS_PATIENCE_SECONDS = 10.0, 300.0
# started with the checkout's folder as its first argument, since the isolated Python that runs it looks nowhere else
COMMAND = "import sys; sys.path.append(sys.argv[1]); from test_framework.reaper import main; main()"
HOME = str(Path(__file__).resolve().parents[1])


class Registration(TypedDict, total=False):
    kind: Kind
    name: str  # a container's, network's, volume's or compose project's name, or a path
    pid: int
    started: str
    signal: int
    home: str  # where a server's processes work, to find those whose parent is gone
    programs: list[str]  # what those processes are called


def register(folder: Path, registration: Registration) -> Path:
    """Write down one thing that must not outlive the run; unlink the returned file when it has ended."""
    folder.mkdir(parents=True, exist_ok=True)
    entry = folder / f"{registration['kind']}-{uuid.uuid4().hex}"
    draft = entry.with_name(f".{entry.name}")
    draft.write_text(json.dumps(registration))
    draft.rename(entry)
    return entry


def unregister(folder: Path, registration: Registration) -> None:
    """Strike a thing off the register."""
    for entry, known in registered(folder):
        if known == registration:
            entry.unlink(missing_ok=True)


def registered(folder: Path) -> Iterator[tuple[Path, Registration]]:
    """Yield every entry of the register, and skip one that is being removed under our eyes."""
    for entry in sorted(folder.glob("[!.]*")) if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            yield entry, json.loads(entry.read_text())


def register_once(folder: Path, registration: Registration) -> None:
    """Write down one thing unless the register has it."""
    if all(known != registration for _, known in registered(folder)):
        register(folder, registration)


def end_registered(folder: Path, patience: float = PATIENCE_SECONDS) -> list[str]:
    """End all that is registered, in the order in which things hold on to each other; return what would not end."""
    alone = shut_gate(folder.parent, patience)
    entries = list(registered(folder))
    left = [] if alone else [f"what somebody has been making for the run these {patience:g} s"]
    for kinds, end in (
        ({"paused"}, let_go_on),
        ({"process"}, end_processes),
        ({"compose", "container", "network", "volume"}, end_on_engine),
        ({"mount"}, unmount),
        ({"directory", "lease"}, remove_paths),
    ):
        chosen = [(entry, registration) for entry, registration in entries if registration["kind"] in kinds]
        remains = end([registration for _, registration in chosen])
        left += remains
        for entry, _ in chosen if alone and not remains else []:
            entry.unlink(missing_ok=True)
    return left


def let_go_on(registrations: list[Registration]) -> list[str]:
    """Wake what a test froze: it need not be the test's own, and whoever owns it would find it frozen."""
    for registration in registrations:
        if name := registration.get("name"):
            unpause_container(name)
        elif is_running(registration["pid"], registration["started"]):
            send([*descendants(registration["pid"]), registration["pid"]], signal.SIGCONT)
    return []


def end_processes(registrations: list[Registration]) -> list[str]:
    """Ask each process and its children to end, wake them should they be paused, and kill what is left after a moment."""
    family: dict[int, str] = {}
    for registration in registrations:
        pid, started = registration["pid"], registration["started"]
        if not is_running(pid, started):
            continue
        members = {child: stamp for child in descendants(pid) if (stamp := started_at(child))}
        family |= {pid: started} | members
        send([pid], registration.get("signal", signal.SIGKILL))
        send([*members, pid], getattr(signal, "SIGCONT", signal.SIGTERM))
    for registration in registrations:
        home = Path(registration.get("home", "/nonexistent"))
        orphans = servers_at_work_in(home, registration.get("programs", [])) - family.keys()
        send(orphans, signal.SIGKILL)
        family |= {orphan: stamp for orphan in orphans if (stamp := started_at(orphan))}
    if not wait_until_ended(family, GRACE_SECONDS):
        send([pid for pid, started in family.items() if is_running(pid, started)], signal.SIGKILL)
        wait_until_ended(family, KILLED_SECONDS)
    for registration in registrations:
        release_shared_memory(Path(registration.get("home", "/nonexistent")))
    return [f"process {pid}" for pid, started in family.items() if is_running(pid, started)]


def unpause_container(name: str) -> None:
    from test_framework.services import engine
    from test_framework.services.state import EngineDownError

    with contextlib.suppress(EngineDownError):
        engine.tell("POST", f"/containers/{name}/unpause")


def end_on_engine(registrations: list[Registration]) -> list[str]:
    """Remove containers, networks and volumes; return what the engine would not let go."""
    if not registrations:
        return []
    from test_framework.services.engine_sweep import Wanted, sweep

    gone = sweep([Wanted(registration["kind"], registration["name"]) for registration in registrations])
    return [] if gone else [f"{registration['kind']} {registration['name']}" for registration in registrations]


def unmount(registrations: list[Registration]) -> list[str]:
    """Take disks out of the tree of folders at once; each is gone when the last file on it is closed."""
    import ctypes

    for registration in registrations:
        ctypes.CDLL(None).umount2(os.fsencode(registration["name"]), 2)  # 2 is MNT_DETACH
    return [registration["name"] for registration in registrations if Path(registration["name"]).is_mount()]


def remove_paths(registrations: list[Registration]) -> list[str]:
    for registration in registrations:
        path = Path(registration["name"])
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return [registration["name"] for registration in registrations if os.path.lexists(registration["name"])]


def main() -> None:
    """Wait for the pipe to close, whatever signals arrive; end what the register names, and then remove those paths."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    _, folder, *paths = sys.argv[1:]
    while os.read(sys.stdin.fileno(), 64):
        pass
    if not end_registered(Path(folder), WATCHDOGS_PATIENCE_SECONDS):
        remove_paths([{"kind": "directory", "name": path} for path in paths])
