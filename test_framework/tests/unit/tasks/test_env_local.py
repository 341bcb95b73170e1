"""`.env.local` is made once, is completed later, and never loses what someone wrote into it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from test_framework.environment.env_files import read_entries
from test_framework.environment.env_local import make_local, make_secret

EXAMPLE = "# the port\nAPP_PORT=8000\n\n# signs the tokens\nAPP_TOKEN_SECRET=\n"
COMPOSE = "x: ${POSTGRES_PASSWORD:?run invoke env.init} ${REDIS_PASSWORD} ${REDIS_PORT:-}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / ".env.example").write_text(EXAMPLE, encoding="utf-8")
    return tmp_path


@pytest.fixture
def compose(root: Path) -> None:
    (root / "compose").mkdir()
    (root / "compose/compose.yml").write_text(COMPOSE, encoding="utf-8")


def numbered() -> Iterator[str]:
    return (f"secret{number}" for number in count(1))


def values(root: Path) -> dict[str, str | None]:
    return {entry.key: entry.value for entry in read_entries(root / ".env.local")}


def test_it_is_made_from_the_example_with_a_secret_where_one_is_needed(root: Path) -> None:
    done = make_local(root, numbered().__next__)

    assert (root / ".env.local").read_text(encoding="utf-8") == EXAMPLE.replace("SECRET=", "SECRET=secret1")
    assert done == ["made .env.local from .env.example", "put a new secret into APP_TOKEN_SECRET"]


@pytest.mark.usefixtures("compose")
def test_every_password_that_compose_asks_for_is_another_one(root: Path) -> None:
    make_local(root, numbered().__next__)

    assert values(root) == {
        "APP_PORT": "8000",
        "APP_TOKEN_SECRET": "secret1",
        "POSTGRES_PASSWORD": "secret2",
        "REDIS_PASSWORD": "secret3",
    }


@pytest.mark.usefixtures("compose")
def test_a_second_time_there_is_nothing_to_do(root: Path) -> None:
    make_local(root)
    first = (root / ".env.local").read_bytes()

    done = make_local(root)

    assert done == []
    assert (root / ".env.local").read_bytes() == first


@pytest.mark.usefixtures("compose")
def test_what_has_a_value_is_kept_and_only_what_is_missing_is_added(root: Path) -> None:
    mine = "APP_TOKEN_SECRET='mine' # keep\nexport REDIS_PASSWORD=\nAPP_PORT=9000"
    (root / ".env.local").write_text(mine, encoding="utf-8")

    done = make_local(root, numbered().__next__)

    assert values(root) == {
        "APP_TOKEN_SECRET": "mine",
        "REDIS_PASSWORD": "secret2",
        "APP_PORT": "9000",
        "POSTGRES_PASSWORD": "secret1",
    }
    assert done == ["put a new secret into POSTGRES_PASSWORD", "put a new secret into REDIS_PASSWORD"]


@pytest.mark.needs("posix")
def test_only_its_owner_may_read_it(root: Path) -> None:
    make_local(root)
    made = (root / ".env.local").stat().st_mode & 0o777
    (root / ".env.local").chmod(0o644)

    done = make_local(root)

    assert made == 0o600
    assert (root / ".env.local").stat().st_mode & 0o777 == 0o600
    assert done == ["closed .env.local to other users"]


def test_nothing_but_the_file_is_left_in_the_folder(root: Path) -> None:
    make_local(root)

    assert {file.name for file in root.iterdir()} == {".env.example", ".env.local"}


def test_no_two_secrets_are_alike_and_none_needs_quoting() -> None:
    made = {make_secret() for _ in range(100)}

    assert len(made) == 100
    assert all(len(secret) == 64 and secret.replace("-", "").replace("_", "").isalnum() for secret in made)
