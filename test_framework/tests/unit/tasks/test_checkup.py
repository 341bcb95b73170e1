"""The doctor says what is wrong and how to mend it, and one broken check hides none of the others."""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

from test_framework.environment import checkup
from test_framework.environment.checkup import Check, CheckVerdict, bad, good, note
from test_framework.running.needs import KNOWN
from test_framework.services import engine
from test_framework.services.occupants import holders_of, listener_on
from test_framework.services.state import EngineDownError
from test_framework.tasks import doctor

GIT = pytest.mark.needs("git")


def broken() -> checkup.CheckResult:
    raise RuntimeError("no such thing")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def test_a_need_that_is_not_met_fails_and_its_line_ends_with_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = [Check("a", lambda: good("fine")), Check("long", lambda: bad("gone", "nox -s setup")), Check("b", broken)]
    monkeypatch.setattr(doctor, "CHECKS", [*checks, Check("c", lambda: note("maybe", "invoke x"))])

    with pytest.raises(Exit) as refusal:
        doctor.check(Context())

    assert refusal.value.code == 1
    assert capsys.readouterr().out.splitlines() == [
        "✓ a     fine",
        "✗ long  gone → nox -s setup",
        "✗ b     the check broke: RuntimeError: no such thing → python -m pip check",
        "– c     maybe → invoke x",
        "Lines with – are optional: nox -s dev needs none of them.",
    ]


def test_a_terminal_without_unicode_gets_plain_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(doctor, "CHECKS", [Check("uv", lambda: note("gone", "get it"))])

    doctor.check(Context())

    terminal.seek(0)
    assert terminal.read() == ("- uv  gone > get it\nLines with - are optional: nox -s dev needs none of them.\n")


def test_notes_fail_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "CHECKS", [Check("uv", lambda: note("not here [optional]"))])

    doctor.check(Context())

    assert "not here [optional]" in capsys.readouterr().out


def test_without_notes_nothing_is_said_of_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "CHECKS", [Check("uv", lambda: good("here"))])

    doctor.check(Context())

    assert capsys.readouterr().out == "✓ uv  here\n"


@pytest.mark.parametrize("name", ["engine", "docker"])
@pytest.mark.parametrize(
    ("why", "remedy"),
    [
        ("this user may not use the engine", "sudo usermod -aG docker $USER, and log in again"),
        ("the engine does not answer", "systemctl start docker|docker info"),
    ],
)
def test_an_engine_that_can_not_be_used_is_a_note_with_its_own_command(
    monkeypatch: pytest.MonkeyPatch, name: str, why: str, remedy: str
) -> None:
    def refuse(path: str) -> None:
        raise EngineDownError(why)

    monkeypatch.setattr(engine, "compose_command", lambda: ("compose",))
    monkeypatch.setattr(engine, "look", refuse)
    monkeypatch.setattr(engine, "start_commands", lambda: [["systemctl", "start", "docker"]])

    diagnosis = next(check for check in doctor.CHECKS if check.name == name).look()

    assert diagnosis.verdict is CheckVerdict.NOTE
    assert diagnosis.seen.startswith(why)
    assert diagnosis.remedy in {remedy, *remedy.split("|")}


def test_an_old_python_is_refused_and_a_newer_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nrequires-python = ">=3.11"\n', encoding="utf-8")

    verdicts = {
        running: checkup.python_version(running, tmp_path).verdict for running in ((3, 10, 9), (3, 11, 0), (4, 0, 0))
    }

    assert verdicts == {(3, 10, 9): CheckVerdict.BAD, (3, 11, 0): CheckVerdict.GOOD, (4, 0, 0): CheckVerdict.GOOD}


def test_a_python_without_asserts_is_refused() -> None:
    assert checkup.asserts(optimize=2).remedy == "unset PYTHONOPTIMIZE"
    assert checkup.asserts(optimize=0).verdict is CheckVerdict.GOOD


def test_a_tool_that_is_missing_is_bad_only_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    looks = [checkup.tool("no-such-tool", "gone", "get it", required=required)() for required in (True, False)]

    assert [look.verdict for look in looks] == [CheckVerdict.BAD, CheckVerdict.NOTE]
    assert checkup.tool(Path(sys.executable).name, "gone", "get it", required=True)().verdict is CheckVerdict.GOOD


@pytest.mark.parametrize(("name", "program"), [("chromium", "chromium"), ("curl", "curl"), ("git", "git")])
def test_an_optional_program_that_is_missing_is_a_note(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, program: str
) -> None:
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    check = next(check for check in checkup.CHECKS if check.name == name)
    missing = check.look()
    assert missing.verdict is CheckVerdict.NOTE
    assert re.search(rf"{program} is on PATH|{program} is not on PATH|{program}, .* is on PATH", missing.seen)
    assert re.search(r" adds \d+ test functions?$", missing.seen)  # a project may have no test for it
    assert missing.remedy.endswith(f"install {program}")

    own = tmp_path / program
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    assert check.look() == good("here")


def test_the_doctor_is_green_where_everything_optional_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere")
    optional = [check for check in checkup.CHECKS if check.name in KNOWN]
    monkeypatch.setattr(doctor, "CHECKS", optional)

    doctor.check(Context())

    *lines, _ = capsys.readouterr().out.splitlines()
    assert {line.split()[1] for line in lines} >= {"docker", "chromium", "faketime", "curl", "git", "npm"}
    assert not [line for line in lines if line.startswith("✗")]


def test_locks_that_are_missing_are_made_by_their_session(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n', encoding="utf-8")

    diagnosis = checkup.locks(tmp_path)

    assert (diagnosis.verdict, diagnosis.remedy) == (CheckVerdict.BAD, "nox -s lock")


def test_a_bad_env_file_is_quoted(tmp_path: Path) -> None:
    (tmp_path / ".env.local").write_text("APP_PROT=1\n", encoding="utf-8")

    diagnosis = checkup.env_files(tmp_path)

    assert diagnosis.verdict is CheckVerdict.BAD
    assert diagnosis.remedy == "invoke env.check"
    assert "more)" in diagnosis.seen


@pytest.mark.needs("posix")
def test_settings_of_ones_own_are_for_ones_own_eyes(tmp_path: Path) -> None:
    file = tmp_path / ".env.local"
    verdicts = [checkup.own_settings(tmp_path).verdict]
    for mode in (0o644, 0o600):
        file.touch()
        file.chmod(mode)
        verdicts.append(checkup.own_settings(tmp_path).verdict)

    assert verdicts == [CheckVerdict.NOTE, CheckVerdict.BAD, CheckVerdict.GOOD]


@GIT
def test_a_tracked_secret_is_named_with_the_command_that_forgets_it(repository: Path) -> None:
    for name in (".env.local", "deep/server.pem", ".env.example"):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).touch()
    subprocess.run(["git", "add", "--force", "."], cwd=repository, check=True)

    diagnosis = checkup.secrets_in_git(repository)

    assert diagnosis.remedy == "git rm --cached .env.local deep/server.pem"


@GIT
def test_a_secret_that_git_does_not_track_is_where_it_belongs(repository: Path) -> None:
    (repository / ".env.local").touch()

    assert checkup.secrets_in_git(repository).verdict is CheckVerdict.GOOD


def test_a_full_disk_is_noticed(tmp_path: Path) -> None:
    assert checkup.disk_space(tmp_path, wanted=2**62).verdict is CheckVerdict.BAD
    assert checkup.disk_space(tmp_path, wanted=1).verdict is CheckVerdict.GOOD


def test_whoever_listens_on_a_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        taken_by = listener_on(port)

    assert taken_by is not None
    assert f"pid {os.getpid()}" in taken_by
    assert listener_on(port) is None


def test_whoever_has_a_file_open_is_named(tmp_path: Path) -> None:
    file, other = tmp_path / "a.db", tmp_path / "b.db"
    other.touch()

    with file.open("w"):
        holders = holders_of([file, tmp_path / "absent"])

    assert any(f"pid {os.getpid()}" in holder for holder in holders)
    assert holders_of([other]) == []


def test_a_port_that_is_taken_is_a_note_because_dev_takes_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("APP_PORT", str(server.getsockname()[1]))
        diagnosis = checkup.port_to_listen_on(tmp_path)

    assert diagnosis.verdict is CheckVerdict.NOTE
