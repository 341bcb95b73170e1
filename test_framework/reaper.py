"""A tiny process that outlives its run: it reads a pipe, and when the last writer is gone it ends what was registered.

A run keeps a register, a folder with one small file per thing it made, written before that thing can leak. `end_registered`
empties it: the run itself calls it on a good day, this file as a detached watchdog on a bad one, and the next run on the worst.
The watchdog imports nothing but the standard library until there is something to end, and touches nothing that is not registered.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypedDict

Kind = Literal["paused", "process", "compose", "container", "network", "volume", "mount", "directory", "lease"]

GRACE_SECONDS = 0.5
ENGINE_SECONDS = 20.0
SEGMENT_LINE = 6
BETWEEN_LOOKS = 0.1
FORCE = {"container": ["--force", "--volumes"], "network": [], "volume": ["--force"]}
RUNNING, STOPPED = "running", "stopped"
SERVERS = ("postgres", "redis-server", "valkey-server")
COMPOSE_PROJECT_LABEL = "com.docker.compose.project"


class Registration(TypedDict, total=False):
    kind: Kind
    name: str  # a container's, network's, volume's or compose project's name, or a path
    pid: int
    started: str
    signal: int
    home: str  # where a server's processes work, to find those whose parent is gone


def look_at(pid: int) -> tuple[str, str] | None:
    """Return a process's start stamp, which tells it from a later one with the same id, and its state; None when it ended."""
    if sys.platform == "linux":
        try:
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if after_name[0] in "ZX" else (after_name[19], STOPPED if after_name[0] in "Tt" else RUNNING)
    import psutil

    try:
        process = psutil.Process(pid)
        status = process.status()
        if status == psutil.STATUS_ZOMBIE:
            return None
        return str(process.create_time()), STOPPED if status == psutil.STATUS_STOPPED else RUNNING
    except psutil.NoSuchProcess:
        return None


def started_at(pid: int) -> str | None:
    found = look_at(pid)
    return found[0] if found else None


def is_running(pid: int, started: str) -> bool:
    """Say whether that very process still runs."""
    with contextlib.suppress(OSError):
        os.waitpid(pid, os.WNOHANG)  # our own child would stay a zombie for ever
    return started_at(pid) == started


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


def end_registered(folder: Path, *, looks: int = 2) -> list[str]:
    """End all that is registered, in the order in which things hold on to each other; return what would not end."""
    entries = list(registered(folder))
    left: list[str] = []
    for kinds, end in (
        ({"paused"}, let_go_on),
        ({"process"}, end_processes),
        ({"compose", "container", "network", "volume"}, functools.partial(end_on_engine, looks=looks)),
        ({"mount"}, unmount),
        ({"directory", "lease"}, remove_paths),
    ):
        chosen = [(entry, registration) for entry, registration in entries if registration["kind"] in kinds]
        remains = end([registration for _, registration in chosen])
        left += remains
        for entry, _ in chosen if not remains else []:
            entry.unlink(missing_ok=True)
    return left


def let_go_on(registrations: list[Registration]) -> list[str]:
    """Wake what a test froze: it need not be the test's own, and whoever owns it would find it frozen."""
    for registration in registrations:
        if name := registration.get("name"):
            side_by_side([[shutil.which("docker") or "docker", "unpause", name]])
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
        orphans = servers_at_work_in(Path(registration.get("home", "/nonexistent"))) - family.keys()
        send(orphans, signal.SIGKILL)
        family |= {orphan: stamp for orphan in orphans if (stamp := started_at(orphan))}
    if not wait_until_ended(family, GRACE_SECONDS):
        send([pid for pid, started in family.items() if is_running(pid, started)], signal.SIGKILL)
        wait_until_ended(family, GRACE_SECONDS)
    for registration in registrations:
        release_shared_memory(Path(registration.get("home", "/nonexistent")))
    return [f"process {pid}" for pid, started in family.items() if is_running(pid, started)]


def descendants(pid: int) -> list[int]:
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def servers_at_work_in(home: Path) -> set[int]:
    """Return the servers whose working directory is this one: nobody else's could be there."""
    import psutil

    found: set[int] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.name() in SERVERS and Path(process.cwd()) == home:
                found.add(process.pid)
    return found


def release_shared_memory(home: Path) -> None:
    """Give back the segment that a killed Postgres left: its number stands in the lock file of its data directory."""
    with contextlib.suppress(OSError, ValueError, IndexError, AttributeError):
        segment = int((home / "postmaster.pid").read_text().splitlines()[SEGMENT_LINE].split()[1])
        import ctypes

        ctypes.CDLL(None).shmctl(segment, 0, None)  # 0 is IPC_RMID


def send(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def wait_until_ended(family: dict[int, str], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(is_running(pid, started) for pid, started in family.items()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def end_on_engine(registrations: list[Registration], looks: int) -> list[str]:
    """Remove containers, networks and volumes by name or by compose project, until `looks` in a row find none.

    One is enough where nobody is making any; the engine may still be at work for a client that was killed.
    """
    docker = shutil.which("docker")
    if not registrations or docker is None:
        return []
    deadline = time.monotonic() + ENGINE_SECONDS
    quiet = 0
    try:
        while quiet < looks and time.monotonic() < deadline:
            found = on_engine(docker, registrations)
            for wave in (("container",), ("network", "volume")):
                side_by_side([[docker, what, "rm", *FORCE[what], name] for what in wave for name in found[what]])
            quiet = 0 if any(found.values()) else quiet + 1
            if 0 < quiet < looks:
                time.sleep(BETWEEN_LOOKS)
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        quiet = 0  # the engine is silent: what it holds stays registered, and the next run looks again
    return [] if quiet else [f"{registration['kind']} {registration['name']}" for registration in registrations]


def on_engine(docker: str, registrations: list[Registration]) -> dict[str, list[str]]:
    """Return what there is of each sort; a container is looked for whatever its state."""
    queries: list[tuple[str, list[str]]] = []
    for what in FORCE:
        listing = [docker, what, "ls", "--quiet", *(["--all"] if what == "container" else [])]
        for registration in registrations:
            name = registration["name"]
            if registration["kind"] == "compose":
                queries.append((what, [*listing, "--filter", f"label={COMPOSE_PROJECT_LABEL}={name}"]))
            elif registration["kind"] == what:
                queries.append((what, [*listing, "--filter", f"name=^{name}$"]))
    found: dict[str, list[str]] = {what: [] for what in FORCE}
    for (what, query), (code, names) in zip(queries, side_by_side([query for _, query in queries]), strict=True):
        if code:
            raise subprocess.CalledProcessError(code, query)
        found[what] += names.split()
    return found


def side_by_side(commands: list[list[str]]) -> list[tuple[int, str]]:
    """Run commands at once, since each of them mostly waits; return how each ended and what it said."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    processes = [subprocess.Popen(command, **options) for command in commands]  # type: ignore[call-overload]
    return [
        (process.wait(), said) for process in processes for said in [process.communicate(timeout=ENGINE_SECONDS)[0]]
    ]


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


def main(folder: Path, paths: list[str]) -> None:
    """Wait for the pipe to close, whatever signals arrive; end what the register names, and then remove those paths."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    while os.read(sys.stdin.fileno(), 64):
        pass
    if not end_registered(folder):
        remove_paths([{"kind": "directory", "name": path} for path in paths])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
