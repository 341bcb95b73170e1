"""`. ./activate` in a copy of its files, with every shell of this machine, and packages from a folder instead of an index."""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from test_framework import CHECKOUT
from test_framework.environment.bootstrap import BASE, DEV_LOCK, TOOLS_LOCK

pytestmark = [pytest.mark.needs("posix"), pytest.mark.timeout(120)]

COPIED = (
    "activate",
    "pyproject.toml",
    "tasks.py",
    "test_framework/__init__.py",
    "test_framework/environment/__init__.py",
    "test_framework/environment/bootstrap.py",
)
LOADS_TASKS = "import os, sys; sys.path.insert(0, ''); os.path.exists('tasks.py') and __import__('tasks'); "
TASKS = "import planted\nall_namespaces = list_by_namespace = lambda: None\n"
FOUND = {
    name: shutil.which(name, path=f"{os.environ['PATH']}{os.pathsep}{os.defpath}")
    for name in ("sh", "dash", "bash", "zsh")
}
SHELLS = {name: path for name, path in FOUND.items() if path}
VOLATILE = (
    "_=",
    "PATH=",
    "path=",
    "PWD=",
    "OLDPWD=",
    "LINENO=",
    "PPID=",
    "RANDOM=",
    "SECONDS=",
    "EPOCH",
    "BASH",
    "PIPESTATUS=",
)
WITHIN_SECONDS = 60


@dataclass(frozen=True)
class Ended:
    """How a script ended, and what it printed."""

    code: int
    out: str
    err: str


@dataclass
class Machine:
    """A copy of what `activate` needs, a folder of packages, and a PATH with Python and no other program."""

    root: Path
    path: Path
    packages: Path

    def script(self, script: str, shell: str = "sh", cwd: Path | None = None) -> Ended:
        """Run a shell script in the copy's folder."""
        done = subprocess.run(
            [SHELLS[shell], "-c", script],
            cwd=cwd or self.root,
            env=self.environment,
            capture_output=True,
            encoding="utf-8",
            timeout=WITHIN_SECONDS,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    @property
    def environment(self) -> dict[str, str]:
        sources = {"FIND_LINKS": str(self.packages), "NO_INDEX": "1"}
        variables = {f"{tool}_{name}": value for tool in ("PIP", "UV") for name, value in sources.items()}
        return {**variables, "PATH": str(self.path), "HOME": str(self.root.parent), "UV_OFFLINE": "1"}

    def program(self, name: str, script: str) -> None:
        """Put a shell script on PATH."""
        (self.path / name).unlink(missing_ok=True)
        (self.path / name).write_text(f"#!{SHELLS['sh']}\n{script}\n")
        (self.path / name).chmod(0o755)

    def pin(self, *packages: str, lock: str = TOOLS_LOCK) -> None:
        """Make packages, and a lock that pins them."""
        pins = [f"{name}==1.0 --hash=sha256:{wheel(self.packages, name)}\n" for name in packages]
        (self.root / lock).write_text("".join(pins))


def wheel(folder: Path, name: str) -> str:
    """Write a package with one command, and return its hash."""
    about = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": f"def main():\n    {LOADS_TASKS if name == 'invoke' else ''}print('{name} runs')\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    record = "".join(f"{path},sha256={digest(text)},{len(text)}\n" for path, text in files.items())
    made = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for path, text in {**files, f"{about}/RECORD": f"{record}{about}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return hashlib.sha256(made.read_bytes()).hexdigest()


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "a project, größer", tmp_path / "bin", tmp_path / "packages")
    for folder in (machine.path, machine.packages):
        folder.mkdir()
    for name in COPIED:
        (machine.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, machine.root / name)
    (machine.path / "python3").symlink_to(BASE)
    uv = shutil.which("uv")
    if uv and Path(uv).read_bytes()[:2] != b"#!":  # a shim would need more on PATH
        (machine.path / "uv").symlink_to(uv)
    machine.pin("nox", "invoke")
    (machine.root / "test_framework/tasks.py").write_text(TASKS.replace("import planted\n", ""))
    return machine


@pytest.mark.parametrize("shell", SHELLS)
def test_activate_changes_path_and_nothing_else(shell: str, machine: Machine) -> None:
    state = "{ set; set -o; }"
    ended = machine.script(f'set -eu; {state} >before; . ./activate; {state} >after; nox; invoke; echo "$PATH"', shell)

    assert ended.out == f"nox runs\ninvoke runs\n{machine.root}/.venv/bin{os.pathsep}{machine.path}\n", ended
    assert lasting(machine.root / "after") == lasting(machine.root / "before")


def lasting(state: Path) -> list[str]:
    return [line for line in state.read_text().splitlines() if not line.startswith(VOLATILE)]


@pytest.mark.parametrize("shell", SHELLS)
def test_sourced_elsewhere_activate_refuses_and_the_shell_lives(shell: str, machine: Machine, tmp_path: Path) -> None:
    activate = shlex.quote(str(machine.root / "activate"))

    ended = machine.script(f"set -eu; . {activate} && echo made; . {activate} || echo alive", shell, cwd=tmp_path)

    assert ended.out == "alive\n"
    assert f"{tmp_path} is not the project's folder" in ended.err
    assert "cd there" in ended.err


def test_run_instead_of_sourced_activate_says_how(machine: Machine) -> None:
    machine.program("sh", f'exec {SHELLS["sh"]} "$@"')

    ended = machine.script("sh ./activate; echo $?")

    assert ended.out == "1\n"
    assert "source it: . ./activate" in ended.err


def test_a_python_that_is_too_old_is_named(machine: Machine) -> None:
    for installer in machine.path.iterdir():
        installer.unlink()
    machine.program("python3", "case $1 in -V) echo Python 3.9.2 ;; *) exit 1 ;; esac")

    ended = machine.script("set -e; . ./activate && echo made; echo alive")

    assert ended.out == "alive\n"
    assert "no Python >=3." in ended.err
    assert "python3 is Python 3.9.2" in ended.err
    assert "which requires-python in pyproject.toml demands" in ended.err
    assert "install one, or uv, then again: . ./activate" in ended.err


def test_a_newer_python_beside_a_too_old_one_is_taken(machine: Machine) -> None:
    (machine.path / "python3").rename(machine.path / f"python3.{sys.version_info.minor}")
    machine.program("python3", "case $1 in -V) echo Python 3.9.2 ;; *) exit 1 ;; esac")

    assert machine.script(". ./activate && nox").out == "nox runs\n"


def test_a_second_time_nothing_is_installed(machine: Machine) -> None:
    assert machine.script(". ./activate").code == 0

    ended = machine.script(". ./activate; . ./activate; nox; echo $PATH")

    assert ended.err == ""
    assert ended.out.count(".venv/bin") == 1


def test_an_environment_whose_python_is_gone_is_made_again(machine: Machine) -> None:
    assert machine.script(". ./activate").code == 0
    (machine.root / ".venv/bin/python").unlink()
    (machine.root / ".venv/bin/python").symlink_to("/no/such/python3")

    assert machine.script(". ./activate && nox").out == "nox runs\n"


def test_a_project_that_was_moved_gets_working_commands(machine: Machine) -> None:
    assert machine.script(". ./activate").code == 0
    machine.root = machine.root.rename(machine.root.with_name("moved"))

    assert machine.script(". ./activate && nox").out == "nox runs\n"


def test_an_installation_that_was_killed_is_finished(machine: Machine) -> None:
    (machine.path / "uv").unlink(missing_ok=True)
    half = "for folder in .venv/lib/*/site-packages; do echo half of a >$folder/nox.py; done; kill -9 $PPID"
    machine.program("uv", f"case $1 in venv) exec {BASE} -m venv --without-pip .venv ;; *) {half} ;; esac")
    assert machine.script(". ./activate && echo made").out == ""
    assert next((machine.root / ".venv").rglob("nox.py")).read_text() == "half of a\n"
    (machine.path / "uv").unlink()

    assert machine.script(". ./activate && nox && invoke").out == "nox runs\ninvoke runs\n"


def test_the_first_invoke_completes_the_environment(machine: Machine) -> None:
    (machine.root / "test_framework/tasks.py").write_text(TASKS)
    machine.pin("nox", "invoke", "planted", lock=DEV_LOCK)

    first = machine.script(". ./activate && invoke")
    second = machine.script(". ./activate && invoke")

    assert (first.out, second.out, second.err) == ("invoke runs\n", "invoke runs\n", ""), first
    assert "invoke: planted is missing here; completing .venv once, as `nox -s setup` does" in first.err


def test_what_a_complete_environment_lacks_is_an_error(machine: Machine) -> None:
    (machine.root / "test_framework/tasks.py").write_text(TASKS)
    machine.pin("nox", "invoke", lock=DEV_LOCK)

    ended = machine.script(". ./activate && invoke; echo $?")

    assert ended.out == "1\n"
    assert ended.err.count("completing .venv once") == 1
    assert "No module named 'planted'" in ended.err


def test_two_at_once_make_one_environment(machine: Machine) -> None:
    started = [
        subprocess.Popen(
            [SHELLS["sh"], "-c", ". ./activate && nox && invoke"],
            cwd=machine.root,
            env=machine.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        for _ in range(4)
    ]
    ended = [process.communicate(timeout=WITHIN_SECONDS) for process in started]

    assert [out for out, _ in ended] == ["nox runs\ninvoke runs\n"] * 4, ended
    assert sum("installing" in err for _, err in ended) == 1


def test_what_no_installer_can_install_fails_with_the_reason(machine: Machine) -> None:
    for made in machine.packages.iterdir():
        made.unlink()

    ended = machine.script("set -e; . ./activate && echo made; echo alive")

    assert ended.out == "alive\n"
    assert f"{TOOLS_LOCK} could not be installed into .venv" in ended.err
    assert "nox" in ended.err.partition("could not be installed")[2].partition("Is the package index")[0]
    assert "then again: . ./activate" in ended.err
