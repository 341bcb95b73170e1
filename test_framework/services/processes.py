"""Services as plain processes on unix sockets in a private folder: nobody else's can be mistaken for ours, no port is taken.

One that has no socket listens on a leased loopback port, and must be the process that listens there. A record beside the
socket says which process it is, by id and start time, so that any shell can find, pause or end it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from test_framework import reaper
from test_framework.services import probes, process_table, small_disk
from test_framework.services.accounts import Account, server_environment
from test_framework.services.credentials import password_names, pinned_ports
from test_framework.services.drivers import RunningServer, driver_of, service_names
from test_framework.services.spec import not_durable, service_specs
from test_framework.services.stack import Stack, own_directory
from test_framework.services.state import Observation, ProviderUnavailableError, ServiceName, State

STARTING_SECONDS = 10.0
STOPPING_SECONDS = 5.0
# waits for a word before it becomes the server: if we die before the server is registered, it reads nothing and ends
HELD_START = 'read -r go && exec "$@" </dev/null'


class _Started(subprocess.Popen[bytes]):
    """A server. It belongs to its stack, so that it may outlive this process, of which Python would complain at its end."""

    def __del__(self) -> None:
        """Say nothing."""


_children: dict[int, _Started] = {}


@dataclass(frozen=True)
class Record:
    pid: int
    started: str
    since: float
    entry: str


def is_a_server(pid: int) -> bool:
    """Whether this process has started a server under that number and not ended it yet."""
    return pid in _children


class ProcessProvider:
    """Runs the binaries that `find` returns."""

    def __init__(self, name: str, stack: Stack, find: Callable[[ServiceName], Path | str]) -> None:
        self.name = name
        self.stack = stack
        self.find = find
        self.home = stack.directory / name
        self.answered: set[Record] = set()
        self.data_home = stack.data / name / "disk" if stack.storage == "small" else stack.data / name

    def missing(self, service: ServiceName) -> str | None:
        found = self.find(service)
        if isinstance(found, str):
            return found
        return small_disk.obstacle() if self.stack.storage == "small" else None

    def glance(self, service: ServiceName) -> State:
        record = self.record(service)
        if record is None:
            return State.EXITED if self.data(service).exists() else State.ABSENT
        if not process_table.is_running(record.pid, record.started):
            return State.EXITED
        looked = process_table.look_at(record.pid)
        return State.PAUSED if looked and looked[1] == process_table.STOPPED else State.STARTING

    def observe(self, service: ServiceName) -> Observation:
        record, state = self.record(service), self.glance(service)
        if record is None or state is not State.STARTING:
            return Observation(state, self.last_words(service) if state is State.EXITED else "")
        try:
            self.probe(service, record)
        except probes.WrongServerError as reason:
            return Observation(State.UNHEALTHY, str(reason))
        except probes.NotReadyError as reason:
            socket = self.address(service).path
            deaf = record in self.answered and socket is not None and not socket.exists()  # and will not listen again
            young = time.time() - record.since < STARTING_SECONDS and not deaf
            return Observation(State.STARTING if young else State.UNHEALTHY, str(reason))
        self.answered.add(record)
        return Observation(State.HEALTHY, f"process {record.pid}")

    def probe(self, service: ServiceName, record: Record) -> None:
        server = self.server(service, record)
        if server.address.path is None and not process_table.listens(record.pid, server.address.port):
            raise probes.NotReadyError(f"process {record.pid} does not listen on {server.address}")
        driver_of(service).check(server)

    def server(self, service: ServiceName, record: Record | None) -> RunningServer:
        """Return what a driver has to know of a server."""
        return RunningServer(self.address(service), self.stack.name, pid=record.pid if record else None)

    def start(self, service: ServiceName) -> None:
        for folder in (self.stack.directory, self.home, self.stack.data, self.data_home):
            own_directory(folder)
        if self.stack.storage == "small":
            small_disk.mount(self.data_home, self.stack.register)
        binary = self.find(service)
        if isinstance(binary, str):
            raise ProviderUnavailableError(f"{self.name} cannot run {service}", binary, "invoke doctor")
        self.end_strays(service)
        driver = driver_of(service)
        account, binary = driver.account(), driver.reachable(binary)
        self.prepare(service, binary, account)
        arguments = service_specs()[service].arguments(self.values())
        own = driver.options(self.address(service), self.data(service), self.stack.name)
        self.launch(service, [str(binary), *arguments, *own], account)

    def prepare(self, service: ServiceName, binary: Path, account: Account) -> None:
        """Make the private folder of the socket and the data directory, or take the ones that are there."""
        folder = self.folder(service)
        folder.mkdir(mode=0o700, exist_ok=True)
        account.own(folder)
        if socket := self.address(service).path:
            for left in (
                socket,
                socket.with_name(f"{socket.name}.lock"),
            ):  # a killed Postgres leaves a lock it then fears
                left.unlink(missing_ok=True)
        else:
            self.choose_port(service)
        driver_of(service).prepare_data(binary, self.data(service))

    def choose_port(self, service: ServiceName) -> None:
        """Write down where a server is going to listen: at the pinned port, where it was, or at one that is free."""
        from test_framework.services import occupants, port_leases

        variable = driver_of(service).port_variable
        before = self.address(service).port
        if (pinned := pinned_ports(self.stack)[variable]).isdecimal():
            port = int(pinned)
        elif before and occupants.listener_on(before) is None:
            port = before
        else:
            lease = port_leases.lease(variable)  # for this process; the server holds the port from its start on
            port = lease.port
            lease.lock.release()
            for file in (port_leases.record(port), port_leases.lock_file(port)) if not self.stack.lasting else ():
                reaper.register_once(self.stack.register, {"kind": "lease", "name": str(file)})
        self.port_file(service).write_text(str(port))

    def launch(self, service: ServiceName, command: list[str], account: Account) -> None:
        with self.log(service).open("ab") as log:
            process = _Started(
                ["/bin/sh", "-c", HELD_START, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=server_environment(),
                cwd=self.data(service),  # what is left of it is found by that folder
                start_new_session=True,
                **account.popen_options(),  # type: ignore[call-overload]
            )
        assert process.stdin is not None
        with process.stdin as go:
            started = process_table.started_at(process.pid) or ""
            entry = self.register(service, process.pid, started)
            record = Record(process.pid, started, time.time(), entry)
            self.record_file(service).write_text(json.dumps(asdict(record)))
            with contextlib.suppress(BrokenPipeError):
                go.write(b"go\n")
        _children[process.pid] = process

    def register(self, service: ServiceName, pid: int, started: str) -> str:
        if self.stack.lasting:
            return ""
        driver, home = driver_of(service), str(self.data(service))
        registration = reaper.Registration(
            kind="process",
            pid=pid,
            started=started,
            signal=getattr(signal, driver.quick_signal),
            home=home,
            programs=list(driver.programs),
        )
        return str(reaper.register(self.stack.register, registration))

    def repair(self, service: ServiceName, found: Observation) -> bool:
        return driver_of(service).repair(self.server(service, self.record(service)), found.detail)

    def end_strays(self, service: ServiceName) -> None:
        """End what is left of a server whose record was lost or whose parent died: two on the same data would destroy it."""
        found = process_table.servers_at_work_in(self.data(service), driver_of(service).programs)
        strays = {pid: process_table.started_at(pid) or "" for pid in found}
        process_table.send(strays, signal.SIGKILL)
        process_table.wait_until_ended(strays, STOPPING_SECONDS)

    def frozen(self, service: ServiceName) -> reaper.Registration:
        record = self.record(service)
        pid, started = (record.pid, record.started) if record else (0, "")
        return {"kind": "paused", "pid": pid, "started": started}

    def pause(self, service: ServiceName) -> None:
        self.signal_family(service, signal.SIGSTOP)

    def unpause(self, service: ServiceName) -> None:
        self.signal_family(service, signal.SIGCONT)

    def stop(self, service: ServiceName) -> None:
        """End it as fast as its data allows: nothing of a run's data is needed again."""
        driver = driver_of(service)
        self.end(service, getattr(signal, driver.stop_signal if self.stack.lasting else driver.quick_signal))

    def kill(self, service: ServiceName) -> None:
        self.end(service, signal.SIGKILL)

    def end(self, service: ServiceName, number: int) -> None:
        record = self.record(service)
        if record is None or not process_table.is_running(record.pid, record.started):
            return
        family = {record.pid: record.started}
        for pid in process_table.descendants(record.pid):
            if stamp := process_table.started_at(pid):
                family[pid] = stamp
        process_table.send(family if number == signal.SIGKILL else [record.pid], number)
        process_table.send(family, signal.SIGCONT)
        if not process_table.wait_until_ended(family, STOPPING_SECONDS):
            process_table.send(family, signal.SIGKILL)
            process_table.wait_until_ended(family, STOPPING_SECONDS)
        process_table.release_shared_memory(self.data(service))
        if child := _children.pop(record.pid, None):
            child.wait(STOPPING_SECONDS)  # its threads may end a moment later than it does
        if record.entry:
            Path(record.entry).unlink(missing_ok=True)

    def remove(self, service: ServiceName, *, data: bool) -> None:
        self.record_file(service).unlink(missing_ok=True)
        self.log(service).unlink(missing_ok=True)
        self.port_file(service).unlink(missing_ok=True)
        shutil.rmtree(self.folder(service), ignore_errors=True)
        if data:
            shutil.rmtree(self.data(service), ignore_errors=True)

    def clear(self, *, data: bool) -> None:
        for service in service_names():
            if self.glance(service) is not State.ABSENT:
                self.stop(service)
                self.remove(service, data=data)

    def run_in_data(self, service: ServiceName, line: str) -> None:
        command = ["/bin/sh", "-c", line]
        subprocess.run(command, cwd=self.data(service), check=False, capture_output=True, timeout=STARTING_SECONDS)

    def url(self, service: ServiceName) -> str:
        return driver_of(service).url(self.address(service), "")

    def identity(self, service: ServiceName) -> str:
        record = self.record(service)
        return f"process {record.pid}" if record else ""

    def logs(self, service: ServiceName, lines: int) -> str:
        log = self.log(service)
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""

    def values(self) -> dict[str, str]:
        names = {"STACK": self.stack.name, "STACK_RUN": self.stack.run, **dict.fromkeys(password_names(), "")}
        return names if self.stack.durable else names | not_durable()

    def signal_family(self, service: ServiceName, number: int) -> None:
        record = self.record(service)
        if record and process_table.is_running(record.pid, record.started):
            process_table.send([record.pid, *process_table.descendants(record.pid)], number)

    def record(self, service: ServiceName) -> Record | None:
        try:
            return Record(**json.loads(self.record_file(service).read_text()))
        except (FileNotFoundError, json.JSONDecodeError, TypeError):
            return None

    def last_words(self, service: ServiceName) -> str:
        said = [line for line in self.logs(service, 20).splitlines() if "FATAL" in line or "rror" in line]
        return said[-1].strip() if said else ""

    def record_file(self, service: ServiceName) -> Path:
        return self.home / f"{service}.json"

    def log(self, service: ServiceName) -> Path:
        return self.home / f"{service}.log"

    def port_file(self, service: ServiceName) -> Path:
        return self.home / f"{service}.port"

    def folder(self, service: ServiceName) -> Path:
        return self.home / service

    def socket(self, service: ServiceName) -> Path:
        return self.folder(service) / driver_of(service).socket

    def address(self, service: ServiceName) -> probes.Address:
        """Return where a server listens: its socket, or the port that was chosen for it; 0 before there was one."""
        if driver_of(service).socket:
            return probes.Address(self.socket(service))
        try:
            return probes.Address(port=int(self.port_file(service).read_text()))
        except (FileNotFoundError, ValueError):
            return probes.Address()

    def data(self, service: ServiceName) -> Path:
        return self.data_home / f"{service}-data"
