"""Which mode was asked for, and what running all of them says about what it could not run."""

from __future__ import annotations

from pathlib import Path

import pytest

from test_framework import modes
from test_framework.modes import MODEL_VARIABLES, Mode, chosen, run_all
from test_framework.running import needs
from test_framework.running.selection import count_tests

WHOLE = dict.fromkeys(MODEL_VARIABLES, "given")


def test_lightweight_is_what_nobody_asked_for() -> None:
    assert chosen(None, {}) is Mode.LIGHTWEIGHT


def test_the_option_and_the_variable_may_agree() -> None:
    assert chosen("full", {"TEST_MODE": "full"}) is Mode.FULL


def test_the_option_and_the_variable_may_not_contradict_each_other() -> None:
    with pytest.raises(ValueError, match=r"--mode=full and TEST_MODE=integration"):
        chosen("full", {"TEST_MODE": "integration"})


def test_a_mode_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"'fast'.*lightweight.*integration.*full"):
        chosen("fast", {})


@pytest.mark.parametrize("left_out", MODEL_VARIABLES)
def test_half_an_endpoint_is_refused_and_what_is_missing_is_named(left_out: str) -> None:
    half = {name: value for name, value in WHOLE.items() if name != left_out}

    with pytest.raises(ValueError, match=rf"{left_out} not"):
        needs.demand_whole_model(Mode.FULL, half)


@pytest.mark.parametrize("environment", [{}, WHOLE])
def test_a_whole_endpoint_and_none_are_both_right(environment: dict[str, str]) -> None:
    needs.demand_whole_model(Mode.FULL, environment)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pytest would be told, run by run; every run is green."""
    commands: list[list[str]] = []

    def run(mode: Mode, arguments: list[str]) -> int:
        commands.append([f"--mode={mode}", *arguments])
        return 0

    for variable in (*MODEL_VARIABLES, modes.VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(modes, "obstacle", lambda mode: None)
    monkeypatch.setattr(modes, "_run", run)
    return commands


def verdicts(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What the last lines say of each mode."""
    _, _, last = capsys.readouterr().out.rpartition("\n\n")
    return {mode: verdict.strip() for mode, _, verdict in (line.partition(" ") for line in last.splitlines())}


def test_without_a_model_full_is_run_and_the_last_line_says_what_that_means(
    asked: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_all([], [Mode.FULL])

    assert code == 0
    assert [(command[0], command[-1]) for command in asked] == [("--mode=full", "--without-model")]
    assert verdicts(capsys)["full"].startswith("green, without a real model: set APP_MODEL_URL")


def test_with_a_model_full_is_run_with_it(
    asked: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in MODEL_VARIABLES:
        monkeypatch.setenv(variable, "given")

    run_all(["-n0", "-x"], [Mode.FULL])

    assert asked == [["--mode=full", "--share-out", "-n0", "-x"]]
    assert verdicts(capsys)["full"] == "green"


def test_what_is_run_on_request_only_is_left_out_and_said_with_how_to_run_it(
    asked: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    run_all([], [Mode.INTEGRATION])

    said = verdicts(capsys)
    assert list(said) == ["integration", "performance", "kit"]
    for mode in ("performance", "kit"):
        assert said[mode].startswith("not run: ")
        assert said[mode].endswith(f": nox -s {mode}")


def test_all_modes_under_a_variable_that_asks_for_one_are_refused(
    asked: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEST_MODE", "integration")

    assert run_all([], Mode) == 4
    assert asked == []
    assert "TEST_MODE=integration" in capsys.readouterr().out


def test_functions_are_counted_without_importing_them(tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(
        "import nowhere\ndef test_a(): ...\nasync def test_b(): ...\ndef helper(): ...\n"
        "class TestC:\n    def test_d(self): ...\n    def help(self): ...\n"
    )

    assert count_tests(file) == 3
