"""One version of Postgres for all providers: the one that compose.yml names."""

from __future__ import annotations

from pathlib import Path

import pytest

from test_framework.services import bundled, native
from test_framework.services.drivers import postgres
from test_framework.services.spec import service_specs

POSTGRES = service_specs()["postgres"]

pytestmark = pytest.mark.needs("posix")


def install(folder: Path, version: str) -> Path:
    """Put a Postgres of that version into a folder, as a package would."""
    folder.mkdir(parents=True)
    server = folder / "postgres"
    server.write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
    server.chmod(0o755)
    (folder / "initdb").touch()
    return server


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose packages are below this folder, with nothing on PATH but a shell's programs."""
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path / "packages")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return tmp_path / "packages"


def test_the_wheel_is_of_the_version_that_compose_names() -> None:
    binary = bundled.find("postgres")

    assert isinstance(binary, Path), binary
    assert postgres.major_version(binary) == POSTGRES.major


def test_a_native_postgres_of_that_version_is_chosen_among_others(debian: Path) -> None:
    install(debian / "9.6" / "bin", "9.6.24")
    wanted = install(debian / POSTGRES.major / "bin", f"{POSTGRES.major}.1")
    install(debian / "99" / "bin", "99.0")

    assert native.find("postgres") == wanted


def test_a_native_postgres_of_another_version_is_named(debian: Path) -> None:
    install(debian / "16" / "bin", "16.9 (Debian 16.9-1)")

    assert native.find("postgres") == f"this machine's Postgres is 16, and the project's is {POSTGRES.major}"


def test_a_native_postgres_that_does_not_run_is_not_chosen(debian: Path) -> None:
    install(debian / POSTGRES.major / "bin", "").write_text("no program")

    assert native.find("postgres") == f"this machine's Postgres is unknown, and the project's is {POSTGRES.major}"


def test_the_data_of_each_version_has_a_volume_of_its_own() -> None:
    assert POSTGRES.volume == f"postgres-{POSTGRES.major}"
    assert POSTGRES.data == "/var/lib/postgresql"
