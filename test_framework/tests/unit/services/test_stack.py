"""No two checkouts and no two runs share a name, a folder or a password."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from test_framework.services import credentials, stack
from test_framework.services.stack import Stack, own_directory

LONGEST_SOCKET_PATH = 104


def checkout(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[project]\nname = "Some_Service"\n')
    return folder


@pytest.fixture(autouse=True)
def _own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "runtime_root", lambda: own_directory(tmp_path / "runtime"))


def test_checkouts_and_runs_have_stacks_of_their_own(tmp_path: Path) -> None:
    one, other = checkout(tmp_path, "one"), checkout(tmp_path, "other")

    stacks = [Stack.dev(one), Stack.dev(other), Stack.of_a_run(checkout=one), Stack.of_a_run(checkout=one)]

    assert len({found.name for found in stacks}) == 4
    assert len({found.directory for found in stacks}) == 4


def test_a_stack_is_named_as_compose_wants_it(tmp_path: Path) -> None:
    found = Stack(checkout(tmp_path, "one"), "dev")

    assert found.name == f"some-service-{found.digest}-dev"


def test_a_socket_fits_into_what_the_narrowest_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    path = f"/dev/shm/test-framework-4294967294/{Stack.of_a_run().directory.name}/bundled/postgres/.s.PGSQL.5432"

    assert len(path) < LONGEST_SOCKET_PATH


@pytest.mark.needs("posix")
@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_own_directory_lets_others_pass_under_any_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        found = own_directory(tmp_path / "mine")
    finally:
        os.umask(before)

    assert stat.S_IMODE(found.stat().st_mode) == 0o711


def test_own_directory_refuses_a_link(tmp_path: Path) -> None:
    (tmp_path / "trap").symlink_to(tmp_path)

    with pytest.raises(PermissionError, match="belongs to another user"):
        own_directory(tmp_path / "trap")


@pytest.fixture
def cache_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """Where an unprivileged user's cache is under an environment; its temp folder is the test's."""
    monkeypatch.setattr(stack, "user_id", lambda: 4711)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def cache_under(**environment: str) -> Path:
        for name in ("HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return stack.cache_root.__wrapped__()

    return cache_under


@pytest.mark.needs("linux")
def test_cache_root_is_the_cache_folder_of_the_user(cache_of: Callable[..., Path], tmp_path: Path) -> None:
    assert cache_of(HOME=str(tmp_path)) == tmp_path / ".cache/test-framework"
    assert cache_of(HOME=str(tmp_path), XDG_CACHE_HOME=f"{tmp_path}/own") == tmp_path / "own/test-framework"
    assert cache_of(HOME=str(tmp_path), XDG_CACHE_HOME="relative") == tmp_path / ".cache/test-framework"


@pytest.mark.parametrize("home", ["/proc/nowhere", "/dev/null", ""])
def test_cache_root_without_a_writable_home_is_a_temp_folder(
    cache_of: Callable[..., Path], tmp_path: Path, home: str
) -> None:
    assert cache_of(HOME=home) == tmp_path / "test-framework-cache-4711"


def test_a_runs_passwords_are_its_own_and_the_same_for_all_its_workers(tmp_path: Path) -> None:
    folder = checkout(tmp_path, "one")
    run, other = Stack.of_a_run("one", folder), Stack.of_a_run("other", folder)

    assert credentials.passwords(run) == credentials.passwords(Stack.of_a_run("one", folder))
    assert set(credentials.passwords(run).values()).isdisjoint(credentials.passwords(other).values())
    assert stat.S_IMODE((run.directory / "passwords.json").stat().st_mode) == 0o600


def test_the_dev_stacks_passwords_are_those_of_env_local(tmp_path: Path) -> None:
    folder = checkout(tmp_path, "one")
    (folder / ".env.local").write_text("POSTGRES_PASSWORD=first\n# a note\nREDIS_PASSWORD='second'\nREDIS_PORT=6400\n")

    assert credentials.passwords(Stack.dev(folder)) == {"POSTGRES_PASSWORD": "first", "REDIS_PASSWORD": "second"}
    assert credentials.pinned_ports(Stack.dev(folder)) == {"POSTGRES_PORT": "", "REDIS_PORT": "6400", "APP_PORT": ""}
    assert set(credentials.pinned_ports(Stack.of_a_run("run", folder)).values()) == {""}
