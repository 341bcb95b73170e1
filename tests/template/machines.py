"""Machines that the README's commands must work on, and what runs a command on one of them.

`python3 tests/template/machines.py new-clone tests` runs this checkout's test command there, to its end; it needs no package.
"""

from __future__ import annotations

import argparse
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from cos_scaffold.live_files import live_files  # noqa: E402

COMMAND = re.compile(r"^ *\$ (\. \./activate && nox -s (\w+).*)$", re.MULTILINE)
COREUTILS = """
[ arch b2sum base32 base64 basename basenc cat chcon chgrp chmod chown cksum comm cp csplit cut date dd df dir
dircolors dirname du echo env expand expr factor false fmt fold groups head hostid id install join link ln
logname ls md5sum mkdir mkfifo mknod mktemp mv nice nl nohup nproc numfmt od paste pathchk pinky pr printenv
printf ptx pwd readlink realpath rm rmdir runcon sha1sum sha224sum sha256sum sha384sum sha512sum shred shuf
sleep sort split stat stdbuf stty sum sync tac tail tee test timeout touch tr true truncate tsort tty uname
unexpand uniq unlink users vdir wc who whoami yes
"""
# the way to the package index is the computer's, not the machine's
PASSED_ON = re.compile(r"(?i)(PIP|UV)_.*(INDEX|LINKS|CERT|URL)|SSL_CERT_.*|(HTTPS?|ALL|NO)_PROXY")
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
START_TIMEOUT = 300.0
END_TIMEOUT = 60.0
LINGER_TIMEOUT = 10.0
TESTS_TIMEOUT = 30 * 60.0


@dataclass(frozen=True)
class Machine:
    """The conditions that a command runs under, several at once."""

    root: bool = False
    programs: tuple[str, ...] = ()
    """What is on PATH besides Python and coreutils."""
    before: str = ""
    """What a shell runs first."""
    variables: Mapping[str, str] = field(default_factory=dict)
    folder: str = "project"
    nohup: bool = False
    clone: bool = False
    """A clone instead of a copy without .git."""
    home_writable: bool = True
    empty_engine: bool = False
    """A container engine answers, and has no image and no registry."""
    image: str = ""
    """The machine is a container of this image, without IPv6."""
    prepare: str = ""
    """What a shell runs in the container first, as root."""
    python: bool = True
    """Python is on PATH."""
    selection: str = ""
    """The tests that run here, where they are not all."""

    @property
    def conditions(self) -> str:
        """What differs from an unprivileged user with an ordinary shell, in one line."""
        given = [(item.name, getattr(self, item.name), item.default) for item in fields(self)]
        return ", ".join(f"{name}={value!r}" for name, value, usual in given if value not in (usual, {}))

    @property
    def lacking(self) -> str | None:
        """Why this computer can't be such a machine."""
        if sys.platform != "linux":
            return f"machines are made on Linux, not on {sys.platform}"
        if os.geteuid() != 0 and (self.root or self.empty_engine or not self.home_writable):
            return "only root can make it"
        if self.image:
            return None if shutil.which("docker") else "docker is not on PATH"
        absent = [name for name in self.programs if shutil.which(name) is None]
        if self.empty_engine and shutil.which("dockerd") is None:
            absent.append("dockerd")
        return f"{', '.join(absent)} not on PATH" if absent else None


HARD = Machine(before="umask 077; ulimit -n 256", variables={"LC_ALL": "C"}, folder="Bücher und mehr", nohup=True)
# a container proves the kind of Python; the other conditions are proven without one
FEW = "tests/mission_critical"
APT = "command -v python3 || { apt-get update && apt-get install -y python3 python3-pip python3-venv; }"
AWAY = f"{APT}; mkdir -p /opt/programs && python3 -m venv /opt/venv && /opt/venv/bin/pip --quiet install"
MANAGED = "/opt/python/cpython-3.13.5-linux-x86_64-gnu"

MACHINES = {
    "new-clone": replace(HARD, programs=("git",), clone=True),
    "bare-user": HARD,
    "read-only-home": Machine(
        before="umask 027",
        variables={"LC_ALL": "de_DE.UTF-8", "TZ": "Asia/Kolkata"},
        programs=("git", "docker"),
        home_writable=False,
        empty_engine=True,
    ),
    "root-umask": Machine(
        root=True, before="umask 077", variables={"TZ": "America/St_Johns", "SERVICES": "bundled"}, folder="ein Ort"
    ),
    "root-umask-027": Machine(root=True, before="umask 027", variables={"SERVICES": "bundled"}, selection=FEW),
    "debian": Machine(image="debian:13-slim", selection=FEW, prepare=APT),
    "debian-without-venv": Machine(
        image="debian:13-slim", selection=FEW, prepare=f"{APT}; dpkg --purge --force-all python3-venv python3.13-venv"
    ),
    "python.org": Machine(image="python:3.13-slim", selection=FEW),
    "only-pipx": Machine(
        image="debian:13-slim",
        selection=FEW,
        python=False,
        programs=("pipx",),
        prepare=f"{AWAY} pipx && ln -s /opt/venv/bin/pipx /usr/local/bin/",
    ),
    "only-uv": Machine(
        image="debian:13-slim",
        selection=FEW,
        python=False,
        programs=("uv",),
        # a Python of uv's own, which it would download where it may
        variables={"UV_PYTHON_INSTALL_DIR": "/opt/python"},
        prepare=f"{AWAY} uv && ln -s /opt/venv/bin/uv /usr/local/bin/ && mkdir -p {MANAGED}/bin {MANAGED}/lib && "
        f"cp /usr/bin/python3.13 {MANAGED}/bin && ln -s python3.13 {MANAGED}/bin/python3 && "
        f"ln -s python3.13 {MANAGED}/bin/python && ln -s /usr/lib/python3.13 {MANAGED}/lib",
    ),
}


@dataclass
class Run:
    """One command on a machine, and what it has printed so far."""

    process: subprocess.Popen[bytes]
    log: Path
    user: int | None

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def interrupt(self) -> None:
        """Press Ctrl-C: the terminal sends SIGINT to the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def left_behind(self) -> list[str]:
        """Name the processes that the command started and that do not end within a few seconds after it."""
        deadline = time.monotonic() + LINGER_TIMEOUT
        while (found := self._processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def _processes(self) -> list[str]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError):
                group = int((folder / "stat").read_text().rpartition(")")[2].split()[2])
                if group == self.process.pid or folder.stat().st_uid == self.user:
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if command:  # a process without one has ended, and waits for its parent
                        found.append(f"{folder.name}: {command.strip()}")
        return found

    def end(self) -> None:
        """End whatever still runs."""
        for line in self._processes():
            with suppress(OSError):
                os.kill(int(line.partition(":")[0]), signal.SIGKILL)
        self.process.wait(END_TIMEOUT)


@dataclass
class Place:
    """A project on a machine, as its user finds it."""

    machine: Machine
    project: Path
    environment: dict[str, str]
    user: pwd.struct_passwd | None
    logs: Path

    def start(self, command: str) -> Run:
        """Start a shell command in the project's folder, in a new session."""
        line = f"{self.machine.before}; {command}" if self.machine.before else command
        words = [*(("nohup",) if self.machine.nohup else ()), "/bin/sh", "-c", line]
        log = self.logs / f"{len(list(self.logs.iterdir()))}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                words,
                cwd=self.project,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                restore_signals=True,
                user=self.user and self.user.pw_uid,
                group=self.user and self.user.pw_gid,
                extra_groups=self.user and [],
            )
        return Run(process, log, self.user and self.user.pw_uid)


def commands(readme: Path) -> dict[str, str]:
    """Read the commands that a README shows, by the session they run."""
    found = COMMAND.findall(readme.read_text(encoding="utf-8"))
    return {session: line.partition(" #")[0].rstrip() for line, session in found}  # options follow the line


@contextmanager
def place(machine: Machine, project: Path) -> Iterator[Place]:
    """Put a copy of a project on a machine, and take both away afterwards."""
    if machine.lacking:
        raise RuntimeError(f"there is no such machine here: {machine.lacking}")
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="machine-", ignore_cleanup_errors=True)))
        base.chmod(0o755)
        logs, home, programs, copy = (base / name for name in ("logs", "home", "bin", machine.folder))
        for folder in (logs, home, programs):
            folder.mkdir()
        user = None if machine.root or os.geteuid() != 0 else stack.enter_context(new_user(home))
        copy_project(project, copy, clone=machine.clone)
        if user:
            for path in [copy, *copy.rglob("*")]:
                os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
            if machine.home_writable:
                os.chown(home, user.pw_uid, user.pw_gid)
        for name in (*COREUTILS.split(), *machine.programs):
            if found := shutil.which(name):
                (programs / name).symlink_to(os.path.realpath(found))
        if machine.python:
            (programs / "python3").symlink_to(python_for(user, project))
        environment = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
        name = user.pw_name if user else "root"
        environment |= {"HOME": str(home), "PATH": str(programs), "USER": name, "LOGNAME": name, "SHELL": "/bin/sh"}
        environment |= machine.variables
        if locale := make_locale(machine.variables.get("LC_ALL", ""), base / "locale"):
            environment["LOCPATH"] = locale
        if machine.empty_engine:
            environment["DOCKER_HOST"] = stack.enter_context(empty_engine(base / "engine"))
        yield Place(machine, copy, environment, user, logs)


def copy_project(project: Path, to: Path, *, clone: bool) -> None:
    """Copy what a user gets of a project: a clone where it is a repository and one is wanted, its files elsewhere."""
    if clone and (project / ".git").exists():
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(project), str(to)], check=True, timeout=120)
        return
    for name in live_files(project):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(project / name, to / name)


@contextmanager
def new_user(home: Path) -> Iterator[pwd.struct_passwd]:
    """Make a user with an empty home folder."""
    name = f"reader{os.getpid()}"
    command = ["useradd", "--no-create-home", "--home-dir", str(home), "--shell", "/bin/sh", name]
    subprocess.run(command, check=True, timeout=60, stdout=subprocess.DEVNULL)
    try:
        yield pwd.getpwnam(name)
    finally:
        subprocess.run(["userdel", name], check=False, timeout=60, capture_output=True)


def python_for(user: pwd.struct_passwd | None, project: Path) -> str:
    """Find a Python for a project that a user can run: one below root's home is out of reach."""
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    lowest = tuple(map(int, re.findall(r'requires-python = ">=(\d+)\.(\d+)', text)[0]))
    fit = (
        "import importlib.util as u, os, sys; "
        f"sys.exit(sys.version_info < {lowest} or not (u.find_spec('pip') or u.find_spec('ensurepip'))); "
    )
    folders = ["/usr/local/bin", "/usr/bin", *os.get_exec_path()]
    names = ["python3", *(f"python3.{minor}" for minor in range(20, 10, -1))]
    for candidate in [sys.executable, *(f"{folder}/{name}" for name in names for folder in folders)]:
        python = os.path.realpath(candidate)
        with suppress(OSError):
            done = subprocess.run(
                [python, "-I", "-c", fit],
                check=False,
                timeout=60,
                user=user and user.pw_uid,
                group=user and user.pw_gid,
                extra_groups=user and [],
            )
            if done.returncode == 0:
                return python
    raise RuntimeError("an unprivileged user can run no Python here that brings pip or venv: apt install python3-venv")


def make_locale(name: str, folder: Path) -> str | None:
    """Compile a locale that this system has only the source of."""
    language, _, encoding = name.partition(".")
    if "_" not in language or shutil.which("localedef") is None:
        return None
    folder.mkdir()
    command = ["localedef", "--no-archive", "-i", language, "-f", encoding, str(folder / name)]
    done = subprocess.run(command, check=False, timeout=60, capture_output=True)
    return str(folder) if done.returncode == 0 else None


@contextmanager
def empty_engine(folder: Path) -> Iterator[str]:
    """Start a container engine that has no image and, in a separate network, no registry."""
    folder.mkdir()
    address = f"unix://{folder}/docker.sock"
    command = ["unshare", "--net", "dockerd", "--host", address, "--bridge=none", "--iptables=false"]
    folders = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
    command += [f"--{option}={folder / name}" for option, name in folders.items()]
    with (folder / "log").open("wb") as log:
        engine = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not (folder / "docker.sock").exists():
            if engine.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"dockerd did not start within 60 s:\n{(folder / 'log').read_text()}")
            time.sleep(0.1)
        (folder / "docker.sock").chmod(0o666)
        yield address
    finally:
        engine.terminate()
        engine.wait(END_TIMEOUT)


def dev(here: Place, command: str) -> None:
    """Run the service until it and its page answer, then press Ctrl-C."""
    run = here.start(f"trap : INT; {command}")  # as a shell at a prompt, which outlives what it runs
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not (address := ADDRESS.search(run.output)):
            if run.process.poll() is not None or time.monotonic() > deadline:
                raise Failure(f"the service did not start, or not within {START_TIMEOUT:g} s", run)
            time.sleep(0.1)
        for path, expected in (("/health/ready", '"ready"'), ("/", "<!doctype html>")):
            with urlopen(address.group() + path, timeout=30) as response:
                body = response.read().decode()
            if expected not in body.lower():
                raise Failure(f"{path} answers {response.status} without {expected}: {body[:200]}", run)
        run.interrupt()
        with suppress(subprocess.TimeoutExpired):
            run.process.wait(END_TIMEOUT)
        code = run.process.returncode
        left = run.left_behind()
        if code != 0 or left:
            raise Failure(f"Ctrl-C ended it with {code}, and left {left or 'no process'}", run)
    finally:
        run.end()
    print(
        f"{run.output}\nthe service and its page answered; Ctrl-C ended it with {code}, and left no process", flush=True
    )


def tests(here: Place, command: str) -> None:
    """Run the tests to their end, and pass on what they print."""
    run = here.start(command)
    printed = 0
    deadline = time.monotonic() + TESTS_TIMEOUT
    try:
        ended = False
        while not ended:
            ended = run.process.poll() is not None
            with run.log.open("rb") as log:
                log.seek(printed)
                new = log.read()
            sys.stdout.buffer.write(new)
            sys.stdout.buffer.flush()
            printed += len(new)
            if time.monotonic() > deadline:
                raise Failure(f"the tests did not end within {TESTS_TIMEOUT:g} s")
            time.sleep(0.2)
        left = run.left_behind()
        if run.process.returncode or left:
            raise Failure(f"{command} ended with {run.process.returncode}, and left {left or 'no process'}")
    finally:
        run.end()


class Failure(Exception):
    """A command did not do on a machine what the README says."""

    def __init__(self, what: str, run: Run | None = None) -> None:
        super().__init__(f"{what}; it printed:\n{run.output}" if run else what)


def in_a_container(machine: Machine, arguments: Sequence[str], project: Path) -> int:
    """Run this program in a container, where it makes the machine."""
    inside = ["python3", "/checkout/tests/template/machines.py", "--inside", "--project", "/project", *arguments]
    prepare = f"({machine.prepare or ':'}) >/dev/null 2>&1 || exit; exec timeout {TESTS_TIMEOUT:g} {shlex.join(inside)}"
    mounts = [f"--volume={ROOT}:/checkout:ro", f"--volume={project}:/project:ro"]
    variables = [f"--env={name}" for name in os.environ if PASSED_ON.fullmatch(name) and "CERT" not in name]
    started = ["docker", "run", "--rm", "--init"]  # on purpose: a computer without a kit, which ends with its command
    started += ["--sysctl=net.ipv6.conf.all.disable_ipv6=1", *mounts, *variables, machine.image, "sh", "-c", prepare]
    with subprocess.Popen(started) as running:
        try:
            return running.wait(TESTS_TIMEOUT + END_TIMEOUT)
        finally:
            running.terminate()  # passed on into the container, should it still run


def main(arguments: Sequence[str]) -> int:
    """Run the README's commands on a machine, and say what they did."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("machine", choices=MACHINES)
    parser.add_argument("sessions", choices=("dev", "tests", "invoke"), nargs="+")
    parser.add_argument("--project", type=Path, default=ROOT, help="where the README and the project are")
    parser.add_argument("--options", default="", help="what the tests' command is given besides")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # after what cleans up
    machine = MACHINES[given.machine]
    if machine.image and not given.inside:
        return in_a_container(machine, [given.machine, *given.sessions, f"--options={given.options}"], given.project)
    machine = replace(machine, image="", prepare="")
    shown = {"invoke": ". ./activate && invoke --list", **commands(given.project / "README.md")}
    options = f" -- {machine.selection} {given.options}".rstrip(" -")
    with place(machine, given.project) as here:
        for session in given.sessions:
            command = shown[session] + (options if session == "tests" else "")
            print(f"\n{given.machine}: {machine.conditions}\n$ {command}", flush=True)
            try:
                (dev if session == "dev" else tests)(here, command)
            except Failure as failure:
                print(f"{given.machine}: {failure}", flush=True)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
