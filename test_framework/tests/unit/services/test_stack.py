"""No two checkouts and no two runs share a name, a folder or a password."""

from __future__ import annotations

import stat
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


def test_a_folder_of_ours_shows_nobody_what_is_in_it(tmp_path: Path) -> None:
    found = own_directory(tmp_path / "mine")

    assert stat.S_IMODE(found.stat().st_mode) == 0o711


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trap").symlink_to(tmp_path)

    with pytest.raises(PermissionError, match="belongs to somebody else"):
        own_directory(tmp_path / "trap")


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
