"""Make .venv with nox, invoke and uv in it, as a lock pins them.

`. ./activate` runs this file with the first Python that it finds, so it uses the standard library alone. `nox -s setup`
and the first `invoke` run it with the lock of everything that a contributor needs.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if sys.platform == "win32" else "bin")
PYTHON = BIN / ("python.exe" if sys.platform == "win32" else "python")
BASE = str(getattr(sys, "_base_executable", sys.executable))  # not .venv's own Python, should that run this
UNFINISHED = VENV / "unfinished"
TOOLS_LOCK = "requirements-tools.lock"
DEV_LOCK = "requirements-dev.lock"
COMPLETED = "INVOKE_ENVIRONMENT_COMPLETED"
PROBED = "invoke"  # the smallest package of the tools

CREATE_TIMEOUT = 120.0
INSTALL_TIMEOUT = 900.0
LOCK_TIMEOUT = 900.0


class BootstrapError(Exception):
    """No way to make the environment worked; says what was tried, and what would help."""


def main(lock: str = TOOLS_LOCK) -> int:
    """Install what a lock pins into .venv, unless it is there already."""
    try:
        with exclusive():
            prepare(lock)
    except BootstrapError as error:
        print(f"activate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("activate: interrupted; the next `. ./activate` starts again", file=sys.stderr)
        return 130
    return 0


def prepare(lock: str) -> None:
    """Bring .venv to what a lock pins: complete the one that is there, or make it."""
    stamp = VENV / f"{lock}.sha256"
    # the scripts in .venv name its folder, so that a project that was moved needs them once more
    wanted = f"{hashlib.sha256((ROOT / lock).read_bytes()).hexdigest()} in {VENV}\n"
    usable = runs(PYTHON) and not UNFINISHED.exists()
    if usable and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    print(f"activate: installing {lock} into .venv (Python {sys.version.split()[0]})", file=sys.stderr)
    moved = any(not old.read_text(encoding="utf-8").endswith(f" in {VENV}\n") for old in VENV.glob("*.sha256"))
    if not usable or moved or not install(lock):
        create()
        failures: list[str] = []
        if not install(lock, failures):
            tried = "\n  ".join(failures)
            raise BootstrapError(
                f"{lock} could not be installed into .venv:\n  {tried}\n"
                "Is the package index reachable? On Debian and Ubuntu Python comes without pip: apt install python3-venv, "
                "or install uv; then again: . ./activate"
            )
    stamp.write_text(wanted, encoding="utf-8")


def create() -> None:
    """Make an empty .venv in the place of what is there."""
    failures: list[str] = []
    uv = shutil.which("uv")
    by_uv = [str(uv), "venv", "--quiet", "--clear", "--python", BASE, str(VENV)]
    by_venv = [BASE, "-I", "-m", "venv", "--without-pip", "--clear", str(VENV)]  # pip is what Debian's lacks
    for command in ([by_uv] if uv else []) + [by_venv]:
        if succeeds(command, failures, timeout=CREATE_TIMEOUT) and runs(PYTHON):
            UNFINISHED.touch()
            return
    tried = "\n  ".join(failures)
    raise BootstrapError(f".venv could not be made:\n  {tried}\nRemove .venv, then again: . ./activate")


def install(lock: str, failures: list[str] | None = None) -> bool:
    """Install a lock into .venv by the first installer that works."""
    failures = [] if failures is None else failures
    UNFINISHED.touch()
    what = ("--quiet", "--require-hashes", "-r", str(ROOT / lock))
    for installer in installers(failures):
        if succeeds([*installer, *what], failures, timeout=INSTALL_TIMEOUT) and succeeds(
            [str(PYTHON), "-I", "-c", "import nox, invoke"], failures, timeout=CREATE_TIMEOUT
        ):
            if "uv" not in Path(installer[0]).name:
                keep_uv_only_if_it_works(what)
            UNFINISHED.unlink()
            return True
    return False


def installers(failures: list[str]) -> Iterator[list[str]]:
    """Offer the installers of this machine, the fastest first."""
    for uv in (BIN / "uv", shutil.which("uv")):
        if uv and Path(uv).exists():
            yield [str(uv), "pip", "install", "--python", str(PYTHON)]
    pip = ("--disable-pip-version-check", "install", "--no-user")
    # PEP 668 forbids pip to install into Debian's Python, not into another environment
    yield [BASE, "-m", "pip", "--python", str(PYTHON), *pip]
    if succeeds([str(PYTHON), "-I", "-m", "ensurepip"], failures, timeout=CREATE_TIMEOUT):
        yield [str(PYTHON), "-m", "pip", *pip]


def keep_uv_only_if_it_works(what: tuple[str, ...]) -> None:
    """Remove uv where pip reaches a package index and uv, which doesn't read pip's configuration, can't.

    nox then installs by pip.
    """
    probe = [str(BIN / "uv"), "pip", "install", "--python", str(PYTHON), "--reinstall-package", PROBED, *what]
    if not succeeds(probe, [], timeout=60, env={"UV_HTTP_TIMEOUT": "10", "UV_HTTP_RETRIES": "0"}):
        for name in ("uv", "uv.exe", "uvx", "uvx.exe"):
            (BIN / name).unlink(missing_ok=True)


def uv_environment() -> dict[str, str]:
    """Let uv trust what the system trusts, and give it a cache in the project where it can't write its own."""
    variables = {}
    trusted = ssl.get_default_verify_paths()
    if trusted.cafile or (trusted.capath and any(Path(trusted.capath).iterdir())):
        variables["UV_SYSTEM_CERTS"] = os.environ.get("UV_SYSTEM_CERTS", "true")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    cache = Path(os.environ.get("UV_CACHE_DIR") or home / "uv")
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        variables["UV_CACHE_DIR"] = str(ROOT / ".nox" / "uv-cache")
    return variables


def complete_and_rerun(error: ModuleNotFoundError) -> NoReturn:
    """Install everything a contributor needs into .venv, then run the same invoke command there."""
    missing = (error.name or "").partition(".")[0]
    if (ROOT / missing).is_dir() or os.environ.get(COMPLETED):
        raise error
    print(f"invoke: {missing} is missing here; completing .venv once, as `nox -s setup` does", file=sys.stderr)
    if code := main(DEV_LOCK):
        sys.exit(code)
    os.environ[COMPLETED] = "1"
    invoke = str(BIN / "invoke")
    if sys.platform == "win32":
        sys.exit(subprocess.run([invoke, *sys.argv[1:]], check=False).returncode)
    os.execv(invoke, [invoke, *sys.argv[1:]])


def runs(python: Path) -> bool:
    """Whether a Python starts, and is new enough."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    lowest = tuple(map(int, re.findall(r"\d+", wanted)[:2]))
    too_old = f"import sys; sys.exit(sys.version_info < {lowest})"
    return python.exists() and succeeds([str(python), "-I", "-c", too_old], [], timeout=CREATE_TIMEOUT)


def succeeds(command: list[str], failures: list[str], *, timeout: float, env: Mapping[str, str] | None = None) -> bool:
    """Run a command; note why it failed, if it did."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **uv_environment(), **(env or {})},
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        failures.append(f"{' '.join(command[:4])}: {error}")
        return False
    if done.returncode != 0:
        said = done.stdout.strip().splitlines() or [f"ended with {done.returncode}"]
        failures.append(f"{' '.join(command[:4])}: {' '.join(said[-3:])}")
    return done.returncode == 0


@contextmanager
def exclusive() -> Iterator[None]:
    """Let one process at a time work on .venv."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    folder = os.open(ROOT, os.O_RDONLY)
    try:
        deadline = time.monotonic() + LOCK_TIMEOUT
        with suppress(NotImplementedError):
            while True:
                try:
                    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise BootstrapError(
                            f"another process has been making .venv for {LOCK_TIMEOUT:g} s; end it, then again: . ./activate"
                        ) from None
                    time.sleep(0.2)
                except OSError:
                    break  # some network file systems lock no folder
        yield
    finally:
        os.close(folder)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
