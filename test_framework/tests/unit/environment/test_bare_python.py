"""A Python without the project's packages, as `. ./activate` makes it: a command names `nox -s setup`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from test_framework import CHECKOUT


def run(*options: str) -> subprocess.CompletedProcess[str]:
    """Run this Python in the checkout; `-S` hides the installed packages."""
    command = [sys.executable, "-E", *options]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, encoding="utf-8", timeout=60, check=False)


@pytest.mark.parametrize("arguments", [("app",), ("app", "migrate"), ("test_framework.guards",)])
def test_without_packages_a_command_names_nox_setup(arguments: tuple[str, ...]) -> None:
    ended = run("-S", "-m", *arguments)

    assert ended.returncode == 1
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"python -m {arguments[0]} needs the package ")
    assert line.endswith("which is not installed; next: nox -s setup")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("app", "--help"), "migrate"), (("test_framework.guards", "no-such-file"), "correct the name")],
)
def test_with_packages_a_command_runs(arguments: tuple[str, ...], says: str) -> None:
    assert says in run("-m", *arguments).stdout
