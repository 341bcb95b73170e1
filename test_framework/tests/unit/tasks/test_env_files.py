"""The .env files say exactly what the service understands, and git never learns a secret from them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.settings import Settings
from test_framework import CHECKOUT
from test_framework.environment import env_files
from test_framework.environment.env_files import (
    TRACKED,
    check_file,
    check_tree,
    masked,
    read_entries,
    set_by_fixtures,
    setting_names,
)

EXAMPLE = (CHECKOUT / ".env.example").read_text(encoding="utf-8")


def local(folder: Path, text: str) -> list[str]:
    """Check a `.env.local` with this text, and write the findings as they are printed."""
    (folder / ".env.local").write_text(text, encoding="utf-8")
    return [str(finding) for finding in check_file(folder, ".env.local")]


def expected(name: str) -> list[str]:
    """The settings that a file names: of the files for tests, those that no fixture sets."""
    return [key for key in setting_names() if name == ".env.example" or key not in set_by_fixtures()]


@pytest.mark.parametrize("name", TRACKED)
def test_every_file_in_git_names_its_settings_in_the_order_of_the_schema(name: str) -> None:
    assert [entry.key for entry in read_entries(CHECKOUT / name)] == expected(name)


@pytest.mark.parametrize("name", TRACKED)
def test_every_setting_is_introduced_by_the_line_that_the_schema_has_for_it(name: str) -> None:
    text = (CHECKOUT / name).read_text(encoding="utf-8")

    introduced = dict(re.findall(r"^# (.*)\n([A-Z_]+)=", text, re.MULTILINE))

    assert {key: line for line, key in introduced.items()} == {
        Settings.variable(field): declared.description
        for field, declared in Settings.model_fields.items()
        if Settings.variable(field) in expected(name)
    }


def test_the_files_in_git_are_in_order() -> None:
    assert [finding for finding in check_tree(CHECKOUT) if finding.path in TRACKED] == []


@pytest.mark.parametrize("name", [".env.test", ".env.ci"])
def test_no_file_for_tests_lets_python_drop_the_asserts(name: str) -> None:
    assert "PYTHONOPTIMIZE" not in {entry.key for entry in read_entries(CHECKOUT / name)}


def test_a_key_that_nobody_reads_is_named_with_its_line(tmp_path: Path) -> None:
    findings = local(tmp_path, "APP_PORT=8001\n\n# what follows is refused\nPYTHONOPTIMIZE=2\n")

    assert [finding.split(" ")[:2] for finding in findings] == [[".env.local:4:", "PYTHONOPTIMIZE"]]


def test_a_misspelt_key_is_told_the_right_one(tmp_path: Path) -> None:
    (finding,) = local(tmp_path, "APP_PROT=8001\n")

    assert "did you mean APP_PORT?" in finding


def test_a_value_out_of_bounds_is_told_the_bounds(tmp_path: Path) -> None:
    (finding,) = local(tmp_path, "APP_HOST=127.0.0.1\nAPP_PORT=99999\n")

    assert finding.startswith(".env.local:2: APP_PORT=99999: ")
    assert "65535" in finding


def test_a_value_that_is_none_of_the_choices_is_told_the_choices(tmp_path: Path) -> None:
    (finding,) = local(tmp_path, "APP_LOG_LEVEL=chatty\n")

    assert finding.endswith("one of debug, info, warning, error")


def test_settings_that_contradict_each_other_are_refused_where_they_stand(tmp_path: Path) -> None:
    (finding,) = local(tmp_path, "APP_LOG_LEVEL=info\nAPP_HOST=0.0.0.0\n")

    assert finding.startswith(".env.local:2: ")
    assert "loopback" in finding


def test_the_environment_does_not_hide_what_a_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_PORT", "8000")

    assert local(tmp_path, "APP_PORT=nonsense\n")


def test_a_key_that_stands_twice_is_named_with_both_lines(tmp_path: Path) -> None:
    (finding,) = local(tmp_path, "APP_PORT=8001\nAPP_PORT=8002\n")

    assert finding.startswith(".env.local:2: APP_PORT already stands in line 1")


@pytest.mark.parametrize("line", ["APP_PORT", "=8000", "APP PORT=8000"])
def test_a_line_that_is_no_entry_is_named(tmp_path: Path, line: str) -> None:
    assert [finding for finding in local(tmp_path, f"# first\n{line}\n") if finding.startswith(".env.local:2: ")]


def test_what_compose_asks_for_may_stand_in_the_local_file_alone(tmp_path: Path) -> None:
    (tmp_path / "compose").mkdir()
    (tmp_path / "compose/compose.yml").write_text("x: ${REDIS_PASSWORD:?run invoke env.init}\n", encoding="utf-8")
    (tmp_path / ".env.example").write_text(f"{EXAMPLE}REDIS_PASSWORD=\n", encoding="utf-8")

    assert local(tmp_path, "REDIS_PASSWORD=x\n") == []
    assert ["REDIS_PASSWORD" in finding.message for finding in check_file(tmp_path, ".env.example")] == [True]


@pytest.mark.parametrize(
    ("empty", "filled"),
    [
        ("APP_TOKEN_SECRET=", f"APP_TOKEN_SECRET={'0123456789abcdef' * 3}"),
        ("APP_MODEL_KEY=", "APP_MODEL_KEY=k-1"),
        ("REDIS_URL=", "REDIS_URL=redis://:hunter2@127.0.0.1:6379/0"),
    ],
)
def test_a_secret_in_git_is_refused_and_not_repeated(tmp_path: Path, empty: str, filled: str) -> None:
    (tmp_path / ".env.example").write_text(EXAMPLE.replace(f"{empty}\n", f"{filled}\n"), encoding="utf-8")

    (finding,) = check_file(tmp_path, ".env.example")

    assert "holds a secret" in finding.message
    assert filled.partition("=")[2] not in finding.message


def test_a_setting_that_a_file_in_git_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env.example").write_text(EXAMPLE.replace("APP_PORT=8000\n", ""), encoding="utf-8")

    (finding,) = check_file(tmp_path, ".env.example")

    assert finding.message.startswith("APP_PORT is missing")


@pytest.mark.parametrize("key", sorted(set_by_fixtures()))
def test_a_setting_that_fixtures_replace_is_refused_in_a_file_for_tests(tmp_path: Path, key: str) -> None:
    text = (CHECKOUT / ".env.ci").read_text(encoding="utf-8")
    (tmp_path / ".env.ci").write_text(f"{text}\n{key}=\n", encoding="utf-8")

    messages = [finding.message for finding in check_file(tmp_path, ".env.ci")]

    assert f"{key} has no effect here, since each test has its own; delete it" in messages


def test_a_file_that_git_should_have_is_missed(tmp_path: Path) -> None:
    assert [finding.path for finding in check_tree(tmp_path)] == list(TRACKED)


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("APP_TOKEN_SECRET", "abc", "***"),
        ("APP_TOKEN_SECRET", "", ""),
        ("DATABASE_URL", "postgresql+asyncpg://me:pw@db/x", "postgresql+asyncpg://me:***@db/x"),
        ("DATABASE_URL", "postgresql+asyncpg://me:p:w%40@db/x", "postgresql+asyncpg://me:***@db/x"),
        ("DATABASE_URL", "postgresql+asyncpg://db/x?password=pw&a=b", "postgresql+asyncpg://db/x?password=***&a=b"),
        ("REDIS_URL", "redis://:pw@cache:6379/0", "redis://:***@cache:6379/0"),
        ("REDIS_URL", "redis://cache:6379/0", "redis://cache:6379/0"),
        ("APP_ALLOWED_HOSTS", "127.0.0.1,[::1]", "127.0.0.1,[::1]"),
    ],
)
def test_what_is_shown_holds_no_password(key: str, value: str, shown: str) -> None:
    assert masked(key, value) == shown


@pytest.mark.parametrize(
    ("value", "name"), [("true", ".env.ci"), ("1", ".env.ci"), ("false", ".env.test"), ("", ".env.test")]
)
def test_a_build_server_has_a_file_of_its_own(tmp_path: Path, value: str, name: str) -> None:
    assert env_files.file_for_tests(tmp_path, {"CI": value}) == tmp_path / name
