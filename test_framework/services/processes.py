"""Services as plain processes on unix sockets in a private folder: nobody else's can be mistaken for ours, no port is taken.

A record beside the socket says which process it is, by id and start time, so that any shell can find, pause or end it.
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
from test_framework.services import cluster_cache, probes, process_table, small_disk
from test_framework.services.cluster_cache import Account, server_account
from test_framework.services.spec import NOT_DURABLE, service_specs
from test_framework.services.stack import Stack, own_directory
from test_framework.services.state import SERVICE_NAMES, Observation, ProviderUnavailableError, ServiceName, State

STARTING_SECONDS = 10.0
STOPPING_SECONDS = 5.0
# waits for a word before it becomes the server: if we die before the server is registered, it reads nothing and ends
HELD_START = 'read -r go && exec "$@" </dev/null'
_children: dict[int, subprocess.Popen[bytes]] = {}


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
            deaf = record in self.answered and not self.socket(service).exists()  # and will not listen again
            young = time.time() - record.since < STARTING_SECONDS and not deaf
            return Observation(State.STARTING if young else State.UNHEALTHY, str(reason))
        self.answered.add(record)
        return Observation(State.HEALTHY, f"process {record.pid}")

    def probe(self, service: ServiceName, record: Record) -> None:
        address = probes.Address(self.socket(service))
        if service == "redis":
            name, expected = probes.ask_redis(address).get("process_id", "").strip(), str(record.pid)
        else:
            name, expected = probes.ask_postgres(address, "postgres", "", cluster_cache.DATABASE), self.stack.name
        if name != expected:
            raise probes.WrongServerError(f"{address} is {name!r}, not {expected!r}")

    def start(self, service: ServiceName) -> None:
        for folder in (self.stack.directory, self.home, self.stack.data, self.data_home):
            own_directory(folder)
        if self.stack.storage == "small":
            small_disk.mount(self.data_home, self.stack.register)
        binary = self.find(service)
        if isinstance(binary, str):
            raise ProviderUnavailableError(f"{self.name} cannot run {service}", binary, "invoke doctor")
        self.end_strays(service)
        account = server_account() if service == "postgres" else Account()
        if service == "postgres":
            binary = cluster_cache.reachable_binaries(binary)
        self.prepare(service, binary, account)
        arguments = service_specs()[service].arguments(self.values())
        own = self.postgres_options() if service == "postgres" else self.redis_options()
        self.launch(service, [str(binary), *arguments, *own], account)

    def prepare(self, service: ServiceName, binary: Path, account: Account) -> None:
        """Make the private folder of the socket and the data directory, or take the ones that are there."""
        folder = self.socket(service).parent
        folder.mkdir(mode=0o700, exist_ok=True)
        account.own(folder)
        socket = self.socket(service)
        for left in (socket, socket.with_name(f"{socket.name}.lock")):  # a killed Postgres leaves a lock it then fears
            left.unlink(missing_ok=True)
        data = self.data(service)
        if service == "redis":
            data.mkdir(mode=0o700, exist_ok=True)
        elif data.exists():
            process_table.release_shared_memory(data)
            (data / "postmaster.pid").unlink(missing_ok=True)  # only we start it, and it does not run
        else:
            cluster_cache.copy_cluster(binary, data)

    def launch(self, service: ServiceName, command: list[str], account: Account) -> None:
        with self.log(service).open("ab") as log:
            process = subprocess.Popen(
                ["/bin/sh", "-c", HELD_START, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=cluster_cache.server_environment(),
                cwd=self.socket(service).parent,
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
        number = signal.SIGQUIT if service == "postgres" else signal.SIGKILL
        home = str(self.data(service))
        registration = reaper.Registration(kind="process", pid=pid, started=started, signal=number, home=home)
        return str(reaper.register(self.stack.register, registration))

    def repair(self, service: ServiceName, found: Observation) -> bool:
        address = probes.Address(self.socket("postgres"))
        return service == "postgres" and probes.make_database(address, "", cluster_cache.DATABASE, found.detail)

    def end_strays(self, service: ServiceName) -> None:
        """End what is left of a server whose record was lost or whose parent died: two on the same data would destroy it."""
        strays = {
            pid: process_table.started_at(pid) or "" for pid in process_table.servers_at_work_in(self.data(service))
        }
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
        lasting = signal.SIGINT if service == "postgres" else signal.SIGTERM
        quick = signal.SIGQUIT if service == "postgres" else signal.SIGKILL
        self.end(service, lasting if self.stack.lasting else quick)

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
        shutil.rmtree(self.socket(service).parent, ignore_errors=True)
        if data:
            shutil.rmtree(self.data(service), ignore_errors=True)

    def clear(self, *, data: bool) -> None:
        for service in SERVICE_NAMES:
            if self.glance(service) is not State.ABSENT:
                self.stop(service)
                self.remove(service, data=data)

    def run_in_data(self, service: ServiceName, line: str) -> None:
        command = ["/bin/sh", "-c", line]
        subprocess.run(command, cwd=self.data(service), check=False, capture_output=True, timeout=STARTING_SECONDS)

    def url(self, service: ServiceName) -> str:
        if service == "redis":
            return f"unix://{self.socket(service)}?db=0"
        return f"postgresql+asyncpg://postgres@/{cluster_cache.DATABASE}?host={self.socket(service).parent}"

    def identity(self, service: ServiceName) -> str:
        record = self.record(service)
        return f"process {record.pid}" if record else ""

    def logs(self, service: ServiceName, lines: int) -> str:
        log = self.log(service)
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""

    def values(self) -> dict[str, str]:
        names = {"STACK": self.stack.name, "STACK_RUN": self.stack.run, "REDIS_PASSWORD": ""}
        return names if self.stack.durable else names | NOT_DURABLE

    def postgres_options(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket("postgres").parent),
            "unix_socket_permissions": "0700",
            "dynamic_shared_memory_type": "mmap",  # inside the data directory, so that a killed server leaves none behind
        }
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        return ["-D", str(self.data("postgres")), *options]

    def redis_options(self) -> list[str]:
        socket = ["--unixsocket", str(self.socket("redis")), "--unixsocketperm", "700"]
        return ["--port", "0", *socket, "--dir", str(self.data("redis"))]

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

    def socket(self, service: ServiceName) -> Path:
        name = ".s.PGSQL.5432" if service == "postgres" else "redis.sock"
        return self.home / service / name

    def data(self, service: ServiceName) -> Path:
        return self.data_home / f"{service}-data"
