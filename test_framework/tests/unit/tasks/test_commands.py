"""The table of contents: every namespace has its sentence, and every command too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

from app.settings import load_settings
from test_framework import CHECKOUT
from test_framework.tasks import all_namespaces, env, template

NAMESPACES = all_namespaces().collections


def test_the_list_shows_each_namespace_with_its_sentence() -> None:
    command = [sys.executable, "-m", "invoke", "--list"]

    shown = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=20).stdout

    for name, namespace in NAMESPACES.items():
        assert namespace.__doc__ is not None
        beginning = " ".join(namespace.__doc__.split()[:3])
        assert [line for line in shown.splitlines() if line.split()[:1] == [name] and beginning in line]


def test_every_module_with_commands_is_a_namespace() -> None:
    assert NAMESPACES.keys() >= {"db", "env", "doctor"}


@pytest.mark.parametrize("name", sorted(NAMESPACES))
def test_every_command_has_one_sentence_that_fits_the_list(name: str) -> None:
    namespace = NAMESPACES[name]

    sentences = [namespace.__doc__, *(command.__doc__ for command in namespace.tasks.values())]

    for sentence in sentences:
        assert sentence is not None
        assert sentence.strip().splitlines()[0].endswith(".")


def test_what_is_shown_tells_who_set_it_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = tmp_path / ".env.local"
    local.write_text("APP_LOG_LEVEL=debug\nAPP_TOKEN_SECRET=very-secret-very-secret-very-secret\n", encoding="utf-8")
    for name in ("APP_LOG_LEVEL", "APP_TOKEN_SECRET", "APP_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("APP_PORT", "8123")

    rows = env.effective(load_settings(local), tmp_path, {"APP_PORT": "8123"})

    assert ("APP_PORT", "8123", "the environment") in rows
    assert ("APP_LOG_LEVEL", "debug", ".env.local") in rows
    assert ("APP_TOKEN_SECRET", "***", ".env.local") in rows
    assert ("APP_HOST", "127.0.0.1", "default") in rows


def test_a_check_that_finds_something_fails_and_prints_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(env, "CHECKOUT", tmp_path)

    with pytest.raises(Exit, match="3 lines to correct"):
        env.check(Context())

    assert ".env.example:1: does not exist" in capsys.readouterr().out


def test_show_on_settings_that_cannot_be_used_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_PORT", "none")

    with pytest.raises(Exit, match="APP_PORT"):
        env.show(Context())


def test_missed_in_the_template_itself_says_so(tmp_path: Path) -> None:
    (tmp_path / "copier.yml").touch()

    with pytest.raises(Exit, match="This is the template itself"):
        template.origin(tmp_path)


def test_missed_in_a_project_of_unknown_origin_names_the_readme(tmp_path: Path) -> None:
    with pytest.raises(Exit, match="The template of this project is unknown"):
        template.origin(tmp_path)
